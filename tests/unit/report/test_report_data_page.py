# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import base64
import hashlib
import re
import xml.etree.ElementTree as ET

import pytest
from fake_checks import EMPTY, group, ledger, mark, profile, report, tokens
from fake_runs import HOSTILE
from test_report_page import Page

from tuneloop.core.errors import ConfigError
from tuneloop.data.schema import Origin, Problem
from tuneloop.data.survey.records import Histogram
from tuneloop.report.data_page import render_data_page, write_data_page
from tuneloop.report.data_plots import histogram_plot, rank_bars
from tuneloop.report.data_story import Names, language_bars, tell_data, turn_bars
from tuneloop.report.data_words import DATA_WORDS, LANGUAGES, REASONS
from tuneloop.report.words import Words

WORDS = Words("en")


def text_of(found, **options) -> str:
    return Page(render_data_page(found, **options)).text.replace("\xa0", " ")


def full_report():
    train, held_out = (
        ledger("/data/train.jsonl", 40, duplicate=2, overlong=6, empty_answer=1),
        ledger("/data/eval.jsonl", 9),
    )
    return report(
        train,
        held_out,
        profiles=(
            profile(
                train.path,
                47,
                personal=(mark("email", 3, "/data/train.jsonl:5", "/data/train.jsonl:9"),),
                health=(mark("refusal", 4, "/data/train.jsonl:7"), mark("cut_off", 9)),
                turns={"2": 40, "4": 7},
                languages={"en": 40, "zh-Hans": 7},
            ),
            profile(held_out.path, 9, health=(mark("refusal", 1, "/data/eval.jsonl:2"),)),
        ),
        findings=(
            group("near_duplicate", ("/data/train.jsonl:1", "/data/train.jsonl:2")),
            group("contradiction", ("/data/train.jsonl:3", "/data/train.jsonl:4", "/data/train.jsonl:8")),
            group(
                "leak_near",
                ("/data/train.jsonl:11", "/data/eval.jsonl:1"),
                ("/data/train.jsonl:12", "/data/eval.jsonl:1"),
            ),
            group("leak_exact", ("/data/train.jsonl:11", "/data/eval.jsonl:3")),
        ),
        tokens=tokens(),
        skipped=("near-duplicates: too many rows",),
        notes=("the template adds text",),
    )


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("found", [EMPTY, full_report(), report(ledger("a", 0))], ids=["empty", "full", "no rows"])
def test_data_page_is_whole_and_needs_no_network(found, language):
    html = render_data_page(found, language=language)
    read = Page(html)
    assert set(read.anchors) <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html


def test_verdict_begins_with_the_account_and_the_worst_thing():
    text = text_of(full_report())
    assert (
        "Mend first: 58 rows were read, 49 can be used. "
        "2 held-out rows also stand among the training rows: take them out there, or the score means nothing." in text
    )
    concerns = [
        "6 rows (10 %) exceed 100 tokens and are left out",
        "1 row (1.7 %) is broken and left out: the answer is empty",
        "5 rows look wrong (something is wrong)",
        "1 question is answered in more than one way",
        "1 pair of rows says almost the same",
        "3 rows hold personal data (something is wrong)",
    ]
    places = [text.index(concern) for concern in concerns]
    assert places == sorted(places)


def test_fine_rows_get_a_plain_yes():
    found = report(ledger("train.jsonl", 1502))
    assert tell_data(found, WORDS).state == "fine"
    text = text_of(found)
    assert "Fine: 1,502 rows were read, and all of them can be used." in text
    assert "Nothing was found that has to be mended before training." in text
    assert "What else to do" not in text


@pytest.mark.parametrize(
    ("found", "state", "sentence"),
    [
        (EMPTY, "empty", "No rows were read: the files hold none."),
        (report(ledger("a", 1)), "fine", "1 row was read, and it can be used."),
        (report(ledger("a", 0, not_json=3)), "mend", "3 rows were read, and none of them can be used."),
        (report(ledger("a", 0, not_json=1)), "mend", "1 row was read, and it cannot be used."),
        (report(ledger("a", 1, duplicate=1)), "fine", "2 rows were read, 1 can be used."),
    ],
)
def test_account_speaks_of_none_one_and_many(found, state, sentence):
    story = tell_data(found, WORDS)
    assert story.state == state
    assert story.account == sentence


def test_a_key_is_worse_than_an_address_and_a_hint_is_no_reason_to_worry():
    def state(**marks):
        return tell_data(report(ledger("a", 9), profiles=(profile("a", 9, **marks),)), WORDS).state

    assert state(personal=(mark("key", 1),)) == "mend"
    assert state(personal=(mark("email", 1),)) == "look"
    assert state(health=(mark("cut_off", 1),)) == "fine"
    assert state(health=(mark("mojibake", 1),)) == "look"


def test_what_is_left_out_is_worse_from_a_fifth_of_the_rows_on():
    assert tell_data(report(ledger("a", 81, not_json=19)), WORDS).state == "look"
    assert tell_data(report(ledger("a", 80, not_json=20)), WORDS).state == "mend"
    assert tell_data(report(ledger("a", 50, duplicate=50)), WORDS).state == "fine"


def test_leaks_beyond_the_examples_are_told_as_a_lower_bound():
    found = report(ledger("a", 9), findings=(group("leak_exact", ("a:1", "b:1"), ("a:2", "b:2"), count=500),))
    assert "At least 2 held-out rows also stand among the training rows" in text_of(found)


def test_leaks_that_are_left_out_already_are_no_reason_to_stop():
    leaks = group("leak_exact", ("a:1", "b:1"), ("a:2", "b:2"))
    gone = tell_data(report(ledger("a", 7, leak=2), findings=(leaks,)), WORDS)
    assert gone.state == "look"
    assert gone.concerns[0].text.startswith("2 training rows are held out too, word for word: they are left out")
    one_stays = tell_data(report(ledger("a", 8, leak=1), findings=(leaks,)), WORDS)
    assert one_stays.state == "mend"
    assert one_stays.concerns[0].text.endswith("the score means nothing. (1 exact copy is left out already.)")


def test_every_reason_has_its_number_and_its_meaning():
    text = text_of(full_report())
    for reason in ("6 overlong longer than data.cutoff_len", "2 duplicate an exact copy of an earlier row"):
        assert reason in text
    assert text.count("✓ adds up") == 2
    broken = ledger("a", 5).replace(read=7)
    assert "does not add up: 2 unaccounted for" in text_of(report(broken))


def test_divided_rows_are_part_of_the_account():
    divided = ledger("a", 12).replace(read=10, added=2)
    text = text_of(report(divided))
    assert "10 rows were read, and all of them can be used." in text
    assert "2 made by dividing long rows" in text
    assert "✓ adds up" in text


def test_a_reason_has_the_same_colour_in_every_file():
    html = render_data_page(report(ledger("a", 5, duplicate=1), ledger("b", 5, overlong=3)))
    parts = re.findall(r'part-(\d)" x="[\d.]+" width="([\d.]+)" height="10"><title>(\w+)', html)
    shown = {(number, name) for number, width, name in parts if float(width) > 0 and name != "Kept"}
    assert shown == {("1", "overlong"), ("2", "duplicate")}


def test_places_are_short_drawn_from_every_file_and_name_each_file_once():
    text = text_of(full_report())
    assert "train.jsonl:7; eval.jsonl:2" in text
    assert "train.jsonl:5, 9" in text
    assert "train.jsonl:3 train.jsonl:4, 8" in text


def test_names_are_cut_only_as_far_as_they_differ():
    names = Names(["/x/a/train.jsonl", "/x/b/train.jsonl", "/x/b/eval.jsonl", "plain.csv"])
    assert names.file("/x/a/train.jsonl") == "a/train.jsonl"
    assert names.file("/x/b/eval.jsonl") == "eval.jsonl"
    assert names.file("plain.csv") == "plain.csv"
    assert names.row("/x/b/eval.jsonl:12#2") == "eval.jsonl:12#2"
    assert names.row("unknown:3") == "unknown:3"


def test_both_rows_of_a_leak_and_its_similarity_are_shown_leaks_first():
    text = text_of(full_report())
    assert "Training row Held-out row Similarity train.jsonl:11 eval.jsonl:3 0.90" in text
    assert text.index("The same question is held out") < text.index("Nearly the same as a held-out row")
    assert text.index("Nearly the same as a held-out row") < text.index("One question, different answers")


def test_tokens_tell_what_is_lost_and_what_a_cut_would_lose():
    text = text_of(full_report())
    assert "400 of 1,000 target tokens (40 %)" in text
    assert "123 target tokens would be lost without a word" in text
    assert "Train 30 1,500 600 40 % 50 48 90 100" in text
    split = full_report().replace(tokens=tokens(overlong="split_turns"))
    assert "data.overlong is split_turns" in text_of(split)


def test_without_a_model_the_page_says_what_is_missing():
    text = text_of(report(ledger("a", 3)))
    assert "No model was given" in text
    assert "lengths in tokens and targets: no model was given (--model)" in text


def test_rows_that_are_left_out_are_listed_up_to_a_hundred():
    rows = [Problem(Origin("a", line), "not_json", f"why {line}") for line in range(1, 151)]
    text = text_of(report(ledger("a", 0, not_json=150)), problems=rows)
    assert "the first 100 of 150" in text
    assert "why 100" in text
    assert "why 101" not in text


def test_many_files_and_many_reasons_stay_one_small_page():
    reasons = {f"reason_{number}": number + 1 for number in range(30)}
    files = [ledger(f"/data/part-{number:03}/rows.jsonl", 10, **reasons) for number in range(150)]
    html = render_data_page(report(*files))
    text = Page(html).text
    assert "150 files" in text
    assert "138 more files" in text
    assert "50 more files are not drawn." in text
    assert all(f"part-{number:03}" in text for number in (0, 75, 149))
    assert len(html) < 3_000_000


@pytest.mark.parametrize(
    "evil", [HOSTILE[0], HOSTILE[1], 'x" onload="alert(1)', "{{ 7 * 7 }}", "a\x1b[31m\u202egnp.exe\ud800"]
)
def test_hostile_text_stays_text_on_the_data_page(evil):
    path = f"/data/{evil}.jsonl"
    found = report(
        ledger(path, 5, **{evil: 1}),
        ledger("b", 1),
        profiles=(
            profile(path, 5, languages={evil: 5}, health=(mark(evil, 2, f"{path}:1", meaning=evil),)),
            profile("b", 1),
        ),
        findings=(group("leak_near", (f"{path}:1", f"{path}:2")),),
        skipped=(evil,),
        notes=(evil,),
        tokens=tokens(template=evil),
    )
    html = render_data_page(found, problems=[Problem(Origin(path, 1), evil, evil)])
    Page(html)
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()
    assert not {"\x1b", "\u202e"} & set(html)
    html.encode()


def test_chinese_data_page_speaks_chinese():
    text = text_of(full_report(), language="zh")
    assert "请先处理： 读入 58 条数据，49 条可以使用。 2 条留出数据也出现在训练数据中" in text
    assert "回答为空" in text
    assert "有问题" in text
    for english in ("Where every row goes", "held-out", "rows were read", "Similarity"):
        assert english not in text


def test_another_language_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="--lang ja"):
        write_data_page(tmp_path / "page.html", EMPTY, language="ja")
    assert not list(tmp_path.iterdir())


def test_same_report_gives_same_bytes_and_the_file_holds_them(tmp_path):
    write_data_page(tmp_path / "new" / "page.html", full_report(), language="zh")
    assert (tmp_path / "new" / "page.html").read_text("utf-8") == render_data_page(full_report(), language="zh")


def test_both_languages_fill_in_the_same_values():
    for key, (english, chinese) in DATA_WORDS.items():
        told, said = (set(re.findall(r"{(\w+)}", words)) for words in (english, chinese))
        assert told == said, key
    assert all(english and chinese for english, chinese in (*REASONS.values(), *LANGUAGES.values()))


def columns(svg: str) -> list[tuple[str, float, float, float]]:
    found = re.findall(r'class="(column(?: beyond)?)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', svg)
    return [(name, float(x), float(width), float(height)) for name, x, width, height in found]


def test_columns_stand_on_their_pixels_and_are_cut_where_rows_are_too_long():
    # 44 px margin left, 14 right: 400 px for 0 to 200; 30 above, 38 below: 150 px for 0 to 30 rows.
    histogram = Histogram(edges=(0.0, 50.0, 100.0, 150.0, 200.0), counts=(10, 20, 30, 0))
    svg = histogram_plot(histogram, WORDS, x_title="tokens", limit=125, size=(458, 218))
    assert columns(svg) == [
        ("column", 44.5, 99.0, 50.0),
        ("column", 144.5, 99.0, 100.0),
        ("column", 244.5, 49.0, 150.0),
        ("column beyond", 294.5, 49.0, 150.0),
    ]
    assert 'class="limit-line" x1="294.0"' in svg
    assert "cutoff 125" in svg
    assert "50 to 100: 20 rows" in svg


def test_a_limit_that_no_row_reaches_is_not_drawn():
    histogram = Histogram(edges=(0.0, 50.0, 100.0), counts=(1, 2))
    svg = histogram_plot(histogram, WORDS, x_title="tokens", limit=100)
    assert "limit" not in svg
    assert "beyond" not in svg


def test_a_last_bar_that_holds_the_rest_is_set_apart_with_its_end():
    edges = tuple(map(float, range(0, 1000, 100)))
    svg = histogram_plot(
        Histogram(edges=(*edges, 9000.0), counts=(5,) * 10), WORDS, x_title="tokens", limit=4950, size=(458, 218)
    )
    *_, before, tail, beyond = columns(svg)
    assert tail[1] - (before[1] + before[2]) > 10
    assert "to 9,000" in svg
    assert "900 to 9,000: 5 rows" in svg
    # Half of 900 to 9,000 lies beyond.
    assert tail[2] == pytest.approx(beyond[2], abs=0.2)


def test_narrow_bars_are_joined_so_that_whole_numbers_make_no_comb():
    edges = tuple(40 + index * 1.25 for index in range(25))
    svg = histogram_plot(Histogram(edges=edges, counts=(1, 2) * 12), WORDS, x_title="tokens")
    heights = {height for *_, height in columns(svg)}
    assert len(columns(svg)) == 6
    assert len(heights) == 1
    assert len(re.findall(r": 6 rows", svg)) == 6


@pytest.mark.parametrize("count", [1, 7])
def test_rows_of_one_length_are_one_column(count):
    edges = tuple(5 + index / 24 for index in range(25))
    svg = histogram_plot(Histogram(edges=edges, counts=(count, *(0,) * 23)), WORDS, x_title="characters", limit=5)
    ET.fromstring(svg)
    assert columns(svg)


def test_nothing_to_count_draws_nothing():
    assert histogram_plot(Histogram(edges=(), counts=()), WORDS, x_title="x") == ""
    assert rank_bars([]) == ""


def test_bars_beyond_the_most_are_taken_together_and_no_row_is_lost():
    turns = {str(number): number for number in range(2, 40, 2)}
    bars = turn_bars(turns, WORDS)
    assert len(bars) == 7
    assert bars[0] == ("2 turns", 2)
    assert bars[-1][0] == "14 or more"
    assert sum(rows for _, rows in bars) == sum(turns.values())
    spoken = {"fr": 3, "en": 90, "und": 1, "de": 2, "es": 2, "it": 2, "ko": 1}
    bars = language_bars(spoken, WORDS)
    assert [bars[0], bars[-1]] == [("English", 90), ("other", 2)]
    assert sum(rows for _, rows in bars) == sum(spoken.values())
