# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import base64
import hashlib
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from fake_runs import HOSTILE, FakeRun, cases, make_accepted, make_hostile, make_rejected, make_samples, make_train_only

from tuneloop.core.store import write_text
from tuneloop.data.records import DatasetRecord
from tuneloop.evaluate.records import EvalRecord
from tuneloop.iterate.records import Decision
from tuneloop.report import page, words
from tuneloop.report.page import render_report, write_report

VOID = {"meta", "br", "hr", "img", "input", "link", "circle", "path", "rect", "line", "polyline"}
FORBIDDEN = {
    "script",
    "img",
    "iframe",
    "object",
    "embed",
    "link",
    "form",
    "input",
    "base",
    "audio",
    "video",
    "foreignobject",
}
FORBIDDEN_ATTRIBUTES = {"src", "srcset", "style", "action", "xlink:href", "background", "formaction", "srcdoc"}


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in its order, nothing active, no address but anchors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.titles: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in FORBIDDEN
        for name, value in attrs:
            assert name not in FORBIDDEN_ATTRIBUTES
            assert not name.startswith("on")
            if name == "href":
                assert value.startswith("#")
                self.anchors.append(value[1:])
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            (self.titles if self.open[-1] == "title" else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@cache
def rendered(folder: Path, language: words.Language = "en") -> str:
    return render_report(folder, language=language)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    return make_accepted(tmp_path_factory.mktemp("runs") / "accepted")


@pytest.fixture(scope="module")
def rejected(tmp_path_factory):
    return make_rejected(tmp_path_factory.mktemp("runs") / "rejected")


@pytest.fixture(scope="module")
def train_only(tmp_path_factory):
    return make_train_only(tmp_path_factory.mktemp("runs") / "train-only")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return make_hostile(tmp_path_factory.mktemp("runs") / "hostile")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["accepted", "rejected", "train_only", "hostile"])
def test_page_is_whole_and_needs_no_network(name, language, request):
    html = rendered(request.getfixturevalue(name), language)
    read = Page(html)
    assert set(read.anchors) <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    assert "default-src 'none'" in html
    assert "url(" not in html
    assert "@import" not in html
    if name != "hostile":
        assert "http://" not in html
        assert "https://" not in html


def test_style_has_the_hash_that_the_policy_allows(accepted):
    html = rendered(accepted)
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in html


def test_same_folder_gives_same_bytes_and_the_file_holds_them(accepted):
    path = write_report(accepted)
    assert path == accepted / "report.html"
    assert path.read_text(encoding="utf-8") == rendered(accepted)


def test_accepted_verdict_says_what_rose_and_how_sure_it_is(accepted):
    text = Page(rendered(accepted)).text.replace("\xa0", " ")
    assert (
        "Accepted : exact match rose from 0.00 to 0.88 (95 % interval of the gain 0.79 to 0.96) on 64 held-out rows."
        in text
    )
    assert "Round 2 of 2 is the one that is kept. The target exact_match >= 0.75 is met." in text
    assert "tune.rank 16 → 32" in text
    assert "The training loss was still falling when training ended." in text


def test_rejected_verdict_says_that_nothing_is_clear_and_what_got_worse(rejected):
    text = Page(rendered(rejected)).text.replace("\xa0", " ")
    assert "Rejected : exact match did not clearly change, 0.36 before and 0.33 after" in text
    assert "The base model stays." in text
    assert "Worse than the base: loss on the reference." in text
    assert "No clear difference" in text


def test_chinese_page_speaks_chinese(accepted):
    html = rendered(accepted, "zh")
    text = Page(html).text
    assert '<html lang="zh-Hans">' in html
    assert "完全匹配率从 0.00 升至 0.88（提升的 95% 区间：0.79 至 0.96）" in text
    assert "7 分 37 秒" in text
    assert "Before and after" not in text


def test_train_only_says_what_is_not_there(train_only):
    text = Page(rendered(train_only)).text
    assert "Trained, not evaluated" in text
    assert "nothing here says whether the model got better" in text
    assert "No samples to show: this folder has no evaluation." in text
    assert "No decision is recorded for this round." in text
    assert "Accepted" not in text
    assert "Better" not in text


def test_empty_folder_gives_a_page_too(tmp_path):
    text = Page(render_report(tmp_path)).text
    assert "Nothing here yet" in text
    assert "No records in this folder." in text


def test_cut_off_training_says_how_far_it_got(tmp_path):
    run = FakeRun(tmp_path / "cut")
    run.dataset(1)
    run.train(1, cut_at=31)
    text = Page(render_report(run.finish())).text
    assert "Training is not finished : the last step seen is 31 of 168 in round 1." in text
    assert "from the events; no checkpoint record" in text


def test_hostile_text_stays_text(hostile):
    html = rendered(hostile)
    Page(html)
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    text = Page(html).text
    for sample in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[7], HOSTILE[8]):
        assert " ".join(sample.split()) in text


def test_control_characters_become_visible_signs(hostile):
    html = rendered(hostile)
    assert not {char for char in html if ord(char) < 32 and char != "\n"}
    assert not set("\x7f\x85\u202e\u202c") & set(html)
    assert "nul ␀ bell ␇ escape ␛[31m del � c1 �" in html
    assert "⟨U+202E⟩gnp.exe" in html


def test_damaged_record_is_named_and_the_rest_stands(tmp_path):
    folder = make_rejected(tmp_path / "damaged")
    path = folder / "records" / "eval-1.json"
    values = orjson.loads(path.read_bytes())
    values["num_samples"] = 1000
    write_text(path, orjson.dumps(values).decode())
    text = Page(render_report(folder)).text
    assert "records/eval-1.json: the record differs from its hash" in text
    assert "Rejected: No metric is better" in text.replace("Rejected : ", "Rejected: ")
    assert str(folder) not in text


def test_changed_samples_and_a_way_out_of_the_folder_are_told(tmp_path):
    folder = make_rejected(tmp_path / "changed")
    path = folder / "round-1" / "eval" / "samples.jsonl"
    write_text(path, path.read_text(encoding="utf-8").replace("Penalty", "Reward"))
    assert "round-1/eval/samples.jsonl: differs from the hash in its record" in Page(render_report(folder)).text

    run = FakeRun(tmp_path / "way-out")
    write_text(tmp_path / "secret.jsonl", "{}\n")
    run.evaluate(0, make_samples(cases(3), None, 1))
    saved = run.folder / "records" / "eval-0.json"
    EvalRecord.load(saved).replace(samples="../secret.jsonl").save(saved)
    assert "names a file outside the run folder" in Page(render_report(run.finish())).text


def test_ledger_that_does_not_add_up_is_called_out(tmp_path):
    run = FakeRun(tmp_path / "ledger")
    run.dataset(1)
    saved = run.folder / "records" / "dataset-1.json"
    record = DatasetRecord.load(saved)
    files = (record.files[0].replace(kept=1200), record.files[1])
    record.replace(files=files).save(saved)
    text = Page(render_report(run.finish())).text
    assert "does not add up: 14 unaccounted for" in text
    assert "adds up" in text


def test_eval_without_base_compares_nothing(tmp_path):
    run = FakeRun(tmp_path / "alone")
    run.dataset(1)
    run.train(1)
    run.checkpoint(1)
    run.evaluate(1, make_samples(cases(16), 0.8, 1))
    text = Page(render_report(run.finish())).text
    assert "Measured, not judged : exact match is" in text
    assert "The base model was not measured on them" in text
    assert "Better" not in text


def test_lower_is_better_speaks_of_a_drop(tmp_path):
    plan = {**FakeRun(tmp_path / "x").plan, "iterate": {"target": "loss <= 0.5"}}
    run, rows = FakeRun(tmp_path / "loss", plan), cases(32)
    run.evaluate(0, make_samples(rows, None, 1))
    run.evaluate(1, make_samples(rows, 0.8, 2))
    run.decide(1, accepted=True, reason="better", target_met=True)
    text = Page(render_report(run.finish())).text.replace("\xa0", " ")
    assert "Accepted : loss on the reference fell from 2." in text
    assert "interval of the drop 2." in text


def test_too_few_rows_say_so(tmp_path):
    folder = make_rejected(tmp_path / "few")
    saved = folder / "records" / "decision-1.json"
    Decision.load(saved).replace(target=None).save(saved)
    saved = folder / "records" / "eval-1.json"
    record = EvalRecord.load(saved)
    record.replace(comparisons=tuple(item.replace(interval=None) for item in record.comparisons)).save(saved)
    text = Page(render_report(folder)).text
    assert "exact match fell from 0.36 to 0.33, too few rows for an interval on 64 held-out rows" in text


def test_lineage_names_parents_and_strangers(accepted, tmp_path):
    text = Page(rendered(accepted)).text
    assert "from checkpoint-2, dataset-2" in text
    assert "from eval-1, eval-2" in text
    assert "not in this folder" not in text
    folder = make_rejected(tmp_path / "stranger")
    (folder / "records" / "dataset-1.json").unlink()
    assert "not in this folder" in Page(render_report(folder)).text


def test_export_check_that_failed_is_told(tmp_path):
    run = FakeRun(tmp_path / "export")
    run.checkpoint(1)
    run.export("merged", 1, difference=0.2)
    assert (
        "largest logit difference 0.2 (allowed 0.001) on 8 probes, ✕ check failed"
        in Page(render_report(run.finish())).text
    )


def test_pauses_count_as_elapsed_time_but_not_as_training(train_only):
    text = Page(rendered(train_only)).text
    assert "Training, round 1 3 min 17 s" in text
    assert "pauses included" in text


@pytest.mark.slow
def test_page_imports_without_torch():
    code = "import sys, tuneloop.report.page; sys.exit(any(n in sys.modules for n in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_templates_use_only_words_that_exist():
    templates = "".join(path.read_text() for path in (Path(page.__file__).parent / "templates").glob("*.j2"))
    for key in re.findall(r"\bw\('([a-z_.0-9]+)'[,)]", templates):
        assert key in words._WORDS
    for english, chinese in words._WORDS.values():
        assert set(re.findall(r"{\w+}", english)) >= set(re.findall(r"{\w+}", chinese))
