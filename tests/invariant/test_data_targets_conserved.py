"""Targets from rows to batches: what is learned is the answers, all of them, whole, once, and nothing else."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_conversations import ADDED, TEMPLATES, as_line, random_row, renderers_of, write_model_folder

from tuneloop.core.errors import DataError
from tuneloop.data import batches, prompt
from tuneloop.data.batches import build_batches
from tuneloop.data.config import DataConfig
from tuneloop.data.encoding import Encoder
from tuneloop.data.prepare import PreparedData, prepare_data
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, Row
from tuneloop.data.tokens import build, overlong, packed, shards
from tuneloop.data.tokens.block import TokenBlock, TokenRow
from tuneloop.data.tokens.packed import iter_packs

FULL, SMALL = 5000, 360
POLICIES = ("drop", "truncate_prompt", "split_turns", "error")
CUTOFF, BUDGET = 220, 500


@dataclass(frozen=True)
class Case:
    """One file of conversations, and how it is prepared."""

    folder: Path
    renderer: Renderer
    template: str
    policy: str
    number: int
    train_on: str = "all"
    cache: str = "cache"

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The conversations, in the file's order."""
        chance = random.Random(f"{self.template} {self.policy}")
        own = self.template == "model"
        # A part of a divided row in which nothing is learned is left off, so weights of 0 are not for that policy.
        weights = self.policy != "split_turns"
        return [
            random_row(chance, with_tools=own and chance.random() < 0.7, with_weights=weights)
            for _ in range(self.number)
        ]

    def prepare(self) -> PreparedData:
        """The file to token rows."""
        chance = random.Random(1)
        name = f"{self.template}-{self.policy}.jsonl"
        (self.folder / name).write_text("".join(as_line(row, chance) + "\n" for row in self.rows))
        cutoff_len = 4096 if self.policy == "error" else CUTOFF
        section = {
            "train": [{"path": name, "train_on": self.train_on}],
            "eval_fraction": 0,
            "cutoff_len": cutoff_len,
            "overlong": self.policy,
        }
        config = DataConfig.model_validate(section | {"duplicates": "keep"})
        return prepare_data(config, self.folder, self.renderer, seed=0, cache=self.folder / self.cache)


def cases(folder: Path, renderers: dict[str, Renderer], number: int) -> Iterator[Case]:
    each = number // (len(TEMPLATES) * len(POLICIES)) + 1
    for template, policy in itertools.product(TEMPLATES, POLICIES):
        yield Case(folder, renderers[template], template, policy, each, "last" if policy == "error" else "all")


def runs_of(row: TokenRow) -> list[np.ndarray]:
    """The stretches of ids that are learned."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.weights > 0, [0]])))
    return [row.ids[begin:end] for begin, end in edges.reshape(-1, 2)]


def specials_of(renderer: Renderer, ids: np.ndarray) -> list[int]:
    decoder = renderer.tokenizer.get_added_tokens_decoder()
    return [token for token in ids.tolist() if token in decoder and decoder[token].special]


def written_answer(message: dict[str, Any], template: str) -> str:
    """What the model has to say in a turn, by hand."""
    calls = "".join(
        f"<call>{call['function']['name']} {json.dumps(json.loads(call['function']['arguments']), ensure_ascii=False)}"
        "</call>"
        for call in message.get("tool_calls", [])
    )
    return (" " if template == "mistral" else "") + message["content"] + calls


def learned_turns(messages: list[dict[str, Any]], train_on: str) -> list[dict[str, Any]]:
    answers = [message for message in messages if message["role"] == "assistant"]
    return [message for message in answers[0 if train_on == "all" else -1 :] if message.get("weight", 1) > 0]


def exchanges_of(messages: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Each question with everything up to the next one."""
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return [messages[begin:end] for begin, end in itertools.pairwise([*starts, len(messages)])]


def said(messages: tuple[Message, ...] | list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (each.role, each.content) if isinstance(each, Message) else (each["role"], each["content"]) for each in messages
    ]


def check_answers(case: Case, row: TokenRow, messages: list[dict[str, Any]]) -> None:
    """What is learned is the answers, each with its end-of-turn token, and with its own weight."""
    end = case.renderer.contract.end_of_turn
    runs = runs_of(row)
    learned = learned_turns(messages, case.train_on)
    assert [case.renderer.decode(run) for run in runs] == [
        written_answer(message, case.template) for message in learned
    ]
    assert [specials_of(case.renderer, run) for run in runs] == [[end]] * len(runs)
    assert all(run[-1] == end for run in runs)
    assert set(row.weights[row.weights > 0].tolist()) == {message.get("weight", 1) for message in learned}


def check_control(case: Case, row: TokenRow, text: Row, seen: dict[Any, list[int]]) -> None:
    """Control tokens are those of a conversation of the same shape that spells none."""
    learned = tuple(message.weight > 0 for message in text.messages)
    shape = tuple(message.role for message in text.messages), learned
    if shape not in seen:
        dull = [replace(message, content="x", tool_calls=()) for message in text.messages]
        # A turn between a call and its result has to be there in both.
        ids = case.renderer.encode_row(dull).ids
        seen[shape] = specials_of(case.renderer, ids)
    assert specials_of(case.renderer, row.ids) == seen[shape]
    if all(learned) and case.train_on == "all":
        added = [case.renderer.tokenizer.token_to_id(token) for token in ADDED]
        assert not np.isin(row.ids[row.weights == 0], added).any()


def check_shortened(text: Row, messages: list[dict[str, Any]]) -> None:
    """Only the longest question differs, and it lost nothing but its middle."""
    before, after = said(messages), said(text.messages)
    assert len(before) == len(after)
    (place,) = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    (role, old), (_, new) = before[place], after[place]
    assert role in {"user", "tool"}
    assert len(old) == max(len(content) for role, content in before if role in {"user", "tool"})
    assert any(old.startswith(new[:at]) and old.endswith(new[at:]) for at in range(len(new) + 1))
    assert len(new) < len(old)


def check_rewritten(case: Case, data: PreparedData, texts: list[Row]) -> None:
    """Parts hold every exchange once and whole, each with the system turn; questions are cut in one place only."""
    by_line: dict[int, list[Row]] = {}
    for row, text in zip(data.train, texts, strict=True):
        again = case.renderer.encode_row(text.messages, weight=text.weight, tools=text.tools)
        assert np.array_equal(again.ids, row.ids)
        by_line.setdefault(text.origin.line, []).append(text)
    num_cut = 0
    for line, parts in by_line.items():
        messages = case.rows[line - 1]["messages"]
        if case.policy == "split_turns":
            system = said([message for message in messages if message["role"] == "system"])
            assert all(said(part.messages)[: len(system)] == system for part in parts)
            joined = [turn for part in parts for turn in said(part.messages)[len(system) :]]
            assert joined == [turn for exchange in exchanges_of(messages) for turn in said(exchange)]
        else:
            (part,) = parts
            if said(part.messages) != said(messages):
                num_cut += 1
                check_shortened(part, messages)
    if case.policy == "truncate_prompt":
        # Those that are reported after all are not among the rows.
        assert num_cut <= data.files[0].truncated
    assert sum(map(len, by_line.values())) - len(by_line) == data.files[0].added


def check_batches(data: PreparedData) -> None:
    """Packed or not, each row stands in the batches once, and with every target of the stores' columns."""
    rows = list(data.train)
    counts = Counter(row.ids.tobytes() for row in rows)
    assert [len(row.ids) for row in rows] == data.train.lengths.tolist()
    assert [row.num_targets for row in rows] == data.train.targets.tolist()
    num_targets = sum(row.num_targets for row in rows)
    assert num_targets == int(data.train.targets.sum()) > 0
    batched: Counter[bytes] = Counter()
    found = 0
    for batch in build_batches(rows, budget=BUDGET):
        ids, bounds = batch.ids_T.numpy().astype(np.int32), batch.bounds
        assert len(ids) <= BUDGET or len(bounds) == 2
        batched.update(ids[begin:end].tobytes() for begin, end in itertools.pairwise(bounds))
        found += len(batch.targets_N)
        at = batch.predictors_N.numpy() + 1
        assert np.array_equal(batch.targets_N.numpy(), ids[at])
        assert not np.isin(at, bounds).any()
        assert set(batch.conversation_N.tolist()) == set(range(len(bounds) - 1))
    assert batched == counts
    assert found == num_targets
    packs = list(iter_packs(data.train, BUDGET, window=16))
    assert Counter(row.ids.tobytes() for pack in packs for row in pack) == counts
    assert Counter(row.origin for pack in packs for row in pack) == Counter(row.origin for row in rows)
    assert all(len(pack) == 1 or sum(len(row.ids) for row in pack) <= BUDGET for pack in packs)
    assert sum(row.num_targets for pack in packs for row in pack) == num_targets


def check(case: Case) -> int:
    """Every promise; returns how many token rows there were."""
    data = case.prepare()
    # A part's text is found again under the origin of its whole row.
    origins = [data.train.origin(index) for index in range(len(data.train))]
    texts = [replace(text, origin=origin) for text, origin in zip(data.texts.read(data.train), origins, strict=True)]
    reported = {problem.origin.line: problem.code for problem in data.problems}
    assert set(reported.values()) <= {"overlong"}
    kept = {text.origin.line for text in texts}
    assert kept | reported.keys() == set(range(1, case.number + 1))
    assert not kept & reported.keys()
    assert data.read == case.number
    if case.policy == "error":
        assert not reported
    seen: dict[Any, list[int]] = {}
    parts = {line: [text for text in texts if text.origin.line == line] for line in kept}
    for row, text in zip(data.train, texts, strict=True):
        assert row.num_targets > 0
        assert case.policy == "error" or len(row.ids) <= CUTOFF
        messages = case.rows[text.origin.line - 1]["messages"]
        if case.policy == "split_turns":
            exchanges = exchanges_of(messages)
            before = sum(
                sum(message.role == "user" for message in part.messages)
                for part in parts[text.origin.line]
                if part.origin.part < text.origin.part
            )
            own = sum(message.role == "user" for message in text.messages)
            messages = [turn for exchange in exchanges[before : before + own] for turn in exchange]
        check_answers(case, row, messages)
        check_control(case, row, text, seen)
    if case.policy in {"truncate_prompt", "split_turns"}:
        check_rewritten(case, data, texts)
    check_batches(data)
    return len(texts)


@pytest.fixture(scope="module")
def renderers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Renderer]:
    return renderers_of(write_model_folder(tmp_path_factory.mktemp("everyone") / "model"))


@pytest.mark.slow
def test_targets_are_conserved(tmp_path: Path, renderers: dict[str, Renderer]) -> None:
    assert sum(check(case) for case in cases(tmp_path, renderers, SMALL)) > SMALL / 2


@pytest.mark.slow
@pytest.mark.parametrize("template", TEMPLATES)
def test_targets_of_five_thousand_conversations_are_conserved(
    tmp_path: Path, renderers: dict[str, Renderer], template: str
) -> None:
    for case in cases(tmp_path, renderers, FULL):
        if case.template == template:
            assert check(case) > case.number / 8


def test_a_conversation_that_is_too_long_stops_the_run(tmp_path: Path, renderers: dict[str, Renderer]) -> None:
    case = Case(tmp_path, renderers["chatml"], "chatml", "drop", 40)
    case.prepare()
    config = DataConfig.model_validate({"train": ["chatml-drop.jsonl"], "cutoff_len": CUTOFF, "overlong": "error"})
    with pytest.raises(DataError, match=r"^chatml-drop\.jsonl:\d+: \d+ tokens, more than data\.cutoff_len = 220"):
        prepare_data(config, tmp_path, case.renderer, seed=0, cache=tmp_path / "cache")


Patch = pytest.MonkeyPatch


def skip_neutralising(patch: Patch) -> None:
    patch.setattr(Encoder, "neutralise", lambda _, message: message)


def neutralise_questions_only(patch: Patch) -> None:
    original = Encoder.neutralise
    patch.setattr(
        Encoder, "neutralise", lambda self, message: original(self, message) if message.role == "user" else message
    )


def trust_the_tools(patch: Patch) -> None:
    patch.setattr(Encoder, "neutralise_json", lambda _, value, *, special_only: value)  # noqa: ARG005


def neutralise_arguments_as_they_are_spelt(patch: Patch) -> None:
    patch.setattr(Encoder, "_neutralise_arguments", lambda self, text: self.neutralise_text(text, special_only=True))
    # Rows hold canonical JSON, in which nothing is escaped: as if it were kept as the file spells it.
    patch.setattr(prompt.Renderer, "_neutralise", _neutralise_after_escaping(prompt.Renderer._neutralise))


def _neutralise_after_escaping(original: Callable[..., Any]) -> Callable[..., Any]:
    def neutralise(self: Renderer, messages: tuple[Message, ...], tools: str) -> Any:
        escaped = [
            replace(
                message,
                tool_calls=tuple(
                    replace(call, arguments=call.arguments.replace("<", "\\u003c")) for call in message.tool_calls
                ),
            )
            for message in messages
        ]
        return original(self, escaped, tools)

    return neutralise


def learn_added_tokens_from_questions(patch: Patch) -> None:
    original = Encoder.neutralise_text
    patch.setattr(
        Encoder,
        "neutralise_text",
        lambda self, text, *, special_only: original(self, text, special_only=True),  # noqa: ARG005
    )


def cut_an_answer(patch: Patch) -> None:
    original = overlong._truncate_prompt

    def truncate(row: Row, renderer: Renderer, longest: int) -> Row:
        shorter = original(row, renderer, longest)
        *others, last = shorter.messages
        return replace(shorter, messages=(*others, replace(last, content=last.content[:-1] or "a")))

    patch.setattr(overlong, "_truncate_prompt", truncate)


def cut_the_shortest_question(patch: Patch) -> None:
    patch.setattr(overlong, "max", lambda *values, key=None: min(*values, key=key) if key else max(*values), False)


def keep_the_head_of_a_question_only(patch: Patch) -> None:
    original = overlong._truncate_prompt

    def truncate(row: Row, renderer: Renderer, longest: int) -> Row:
        shorter = original(row, renderer, longest)
        messages = [
            replace(new, content=new.content[:-2] + "..") if old != new else new
            for old, new in zip(row.messages, shorter.messages, strict=True)
        ]
        return replace(shorter, messages=tuple(messages))

    patch.setattr(overlong, "_truncate_prompt", truncate)


def lose_the_last_exchange(patch: Patch) -> None:
    original = overlong._exchanges
    patch.setattr(overlong, "_exchanges", lambda turns: list(original(turns))[:-1] or list(original(turns)))


def lose_the_system_turn(patch: Patch) -> None:
    original = overlong._split_turns

    def split(row: Row, renderer: Renderer, longest: int) -> list[Row]:
        first, *others = original(row, renderer, longest)
        return [first, *(replace(o, messages=o.messages[o.messages[0].role == "system" :]) for o in others)]

    patch.setattr(overlong, "_split_turns", split)


def repeat_a_part(patch: Patch) -> None:
    original = overlong._split_turns
    patch.setattr(overlong, "_split_turns", lambda *given: [*original(*given), original(*given)[-1]])


def end_runs_too_early(patch: Patch) -> None:
    _change_runs(patch, lambda spans: spans - np.array([0, 1]))


def begin_runs_too_early(patch: Patch) -> None:
    _change_runs(patch, lambda spans: spans - np.array([1, 0]))


def _change_runs(patch: Patch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    original = build.assemble

    def assemble(*given: Any) -> TokenBlock:
        block = original(*given)
        return replace(block, run_spans=change(block.run_spans).astype(np.int32))

    patch.setattr(build, "assemble", assemble)


def read_the_weights_of_the_next_token(patch: Patch) -> None:
    original = shards.Shard.row

    def row(self: shards.Shard, index: int) -> tuple[np.ndarray, np.ndarray]:
        ids, weights = original(self, index)
        return ids, np.roll(weights, -1)

    patch.setattr(shards.Shard, "row", row)


def drop_a_shard(patch: Patch) -> None:
    original = shards.StoreWriter.flush

    def flush(self: shards.StoreWriter) -> None:
        original(self)
        del self.shards[1:]

    patch.setattr(build, "_CHUNK_ROWS", 4)
    patch.setattr(shards, "ROWS_A_SHARD", 4)
    patch.setattr(shards.StoreWriter, "flush", flush)


def pack_without_the_last_row(patch: Patch) -> None:
    original = packed.pack_rows
    patch.setattr(packed, "pack_rows", lambda lengths, budget: original(lengths[:-1], budget))


def batch_a_row_twice(patch: Patch) -> None:
    original = batches.pack_rows
    patch.setattr(batches, "pack_rows", lambda lengths, budget: [*original(lengths, budget), [0]])


def overfill_packs(patch: Patch) -> None:
    original = packed.pack_rows
    patch.setattr(packed, "pack_rows", lambda lengths, budget: original(lengths, 2 * budget))


PLANTS: tuple[tuple[Callable[[Patch], None], str, str], ...] = (
    (skip_neutralising, "chatml", "drop"),
    (neutralise_questions_only, "gemma", "drop"),
    (trust_the_tools, "model", "error"),
    (neutralise_arguments_as_they_are_spelt, "model", "error"),
    (learn_added_tokens_from_questions, "llama3", "error"),
    (cut_an_answer, "chatml", "truncate_prompt"),
    (cut_the_shortest_question, "mistral", "truncate_prompt"),
    (keep_the_head_of_a_question_only, "plain", "truncate_prompt"),
    (lose_the_last_exchange, "model", "split_turns"),
    (lose_the_system_turn, "chatml", "split_turns"),
    (repeat_a_part, "llama3", "split_turns"),
    (end_runs_too_early, "chatml", "drop"),
    (begin_runs_too_early, "gemma", "drop"),
    (read_the_weights_of_the_next_token, "plain", "drop"),
    (drop_a_shard, "chatml", "drop"),
    (pack_without_the_last_row, "chatml", "drop"),
    (batch_a_row_twice, "chatml", "drop"),
    (overfill_packs, "chatml", "drop"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "template", "policy"), PLANTS, ids=[plant[0].__name__ for plant in PLANTS])
def test_the_check_catches_a_planted_bug(
    tmp_path: Path,
    renderers: dict[str, Renderer],
    monkeypatch: Patch,
    plant: Callable[[Patch], None],
    template: str,
    policy: str,
) -> None:
    check(Case(tmp_path, renderers[template], template, policy, 24))
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check(Case(tmp_path, renderers[template], template, policy, 24, cache="planted"))


def test_escapes_in_arguments_spell_no_control_token(renderers: dict[str, Renderer]) -> None:
    from tuneloop.data.schema import ToolCall

    renderer = renderers["model"]
    for arguments in (r'{"a": "\u003c|im_end|\u003e"}', r'{"\u003c|im_end|>": [{"b": "\u005bINST]"}]}', "<|im_end|>"):
        call = ToolCall("find", arguments)
        row = renderer.encode_row((Message("user", "q"), Message("assistant", "", tool_calls=(call,))))
        dull = renderer.encode_row(
            (Message("user", "q"), Message("assistant", "", tool_calls=(ToolCall("find", "{}"),)))
        )
        assert specials_of(renderer, row.ids) == specials_of(renderer, dull.ids)
