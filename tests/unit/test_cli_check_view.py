import io
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tuneloop.cli.check_view import print_report
from tuneloop.data.schema import Origin, Problem

sys.path.insert(0, str(Path(__file__).parent / "report"))
from fake_checks import EMPTY, group, ledger, mark, profile, report, tokens


def shown(found, problems=(), *, colours=False, width=80) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, highlight=False, force_terminal=colours, color_system="standard" if colours else None
    )
    print_report(found, problems, console)
    return file.getvalue()


def test_account_stands_on_one_line_and_a_long_name_on_its_own():
    long = "/data/" + "very-long-folder-name/" * 4 + "train.jsonl"
    text = shown(report(ledger("a.jsonl", 9, duplicate=2, not_json=1), ledger(long, 5)))
    assert "a.jsonl (alpaca): read 12 = kept 9 + duplicate 2 + not_json 1\n" in text
    assert f"{long} (alpaca)\n  read 5 = kept 5\n" in text
    assert "all files: read 17 = kept 14 + duplicate 2 + not_json 1\n" in text


def test_verdict_comes_first_and_says_what_to_do():
    found = report(ledger("a", 9), findings=(group("leak_exact", ("a:1", "b:7")),))
    first, second, *_ = shown(found).splitlines()
    assert first == "Mend first: 9 rows were read, and all of them can be used."
    assert second.startswith("! 1 held-out row also stands among the training rows")
    assert "train" not in shown(EMPTY)
    assert shown(EMPTY).startswith("No rows: No rows were read")


def test_findings_name_both_rows_and_how_alike_they_are():
    pairs = [(f"/x/a:{number}", f"/x/b:{number}") for number in range(1, 8)]
    text = shown(report(ledger("/x/a", 9), ledger("/x/b", 9), findings=(group("leak_near", *pairs, count=300),)))
    assert "  a:1  ~  b:1  0.90\n" in text
    assert "a:6" not in text
    assert "... and 295 more: --html shows them." in text


def test_reasons_have_numbers_meanings_and_the_first_twenty_rows():
    problems = [Problem(Origin("a.jsonl", line), "not_json", "no comma") for line in range(1, 31)]
    text = shown(report(ledger("a.jsonl", 9, not_json=30)), problems)
    assert "  30  not_json  the line is not valid JSON" in text
    assert "a.jsonl:20: no comma [not_json]\n" in text
    assert "a.jsonl:21:" not in text
    assert "... and 10 more: --json lists them all." in text


def test_tokens_tell_what_is_lost():
    text = shown(report(ledger("a", 30, overlong=6), tokens=tokens()))
    assert "train    30   1,500         600" in text
    assert "longer than 100 tokens: 6 rows" in text
    assert "400 of 1,000 target tokens (40\N{NO-BREAK SPACE}%)" in text
    assert "123 target tokens lost without a word" in text


@pytest.mark.parametrize("policy", ["drop", "truncate_prompt", "split_turns", "error"])
def test_every_policy_for_long_rows_has_its_words(policy):
    assert "longer than 100 tokens" in shown(report(ledger("a", 30), tokens=tokens(overlong=policy)))


def test_tables_fit_eighty_columns_and_keep_long_names_whole():
    name = "a-name-of-a-file-that-is-much-longer-than-names-should-be.jsonl"
    marks = (
        mark("refusal", 12_345, f"{name}:1", f"{name}:99", meaning="the answer refuses, or speaks of being an AI"),
    )
    found = report(
        ledger(name, 20_000), profiles=(profile(name, 20_000, health=marks, personal=marks),), tokens=tokens()
    )
    text = shown(found)
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert f"{name}:1, 99" in text
    short = found.replace(profiles=(profile("b", 9, health=(mark("refusal", 3, "b:1", "b:2"),)),))
    assert "   3  refusal: something is wrong  b:1, 2" in shown(short)


def test_a_pipe_gets_no_colours_and_a_terminal_does():
    found = report(ledger("a", 9), findings=(group("leak_exact", ("a:1", "b:7")),))
    assert "\x1b" not in shown(found)
    assert "\x1b[1;31mMend first: " in shown(found, colours=True)


def test_foreign_text_can_neither_steer_the_terminal_nor_be_markup():
    evil = "[bold red]x[/]\x1b]0;owned\x07\u202e.jsonl"
    found = report(
        ledger(evil, 5, **{evil: 1}),
        profiles=(profile(evil, 5, health=(mark(evil, 2, f"{evil}:1", meaning=evil),), languages={evil: 5}),),
        findings=(group("leak_near", (f"{evil}:1", f"{evil}:2")),),
        notes=(evil,),
        skipped=(evil,),
    )
    text = shown(found, [Problem(Origin(evil, 1), "code", evil)])
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[bold red]x[/]" in text


def test_the_median_lies_in_the_bar_that_is_named():
    histogram = {"edges": (10.0, 20.0, 30.0, 45.0), "counts": (2, 3, 3)}
    found = report(ledger("a", 8), profiles=(profile("a", 8, characters=histogram),))
    assert "characters  10 to 45, the median between 20 and 30\n" in shown(found)


def test_a_hundred_files_stay_short_but_the_sum_is_over_all():
    text = shown(report(*(ledger(f"part-{number}.jsonl", 2) for number in range(100))))
    assert "... and 60 more files" in text
    assert "all files: read 200 = kept 200\n" in text
    assert len(text.splitlines()) < 220


def test_what_was_not_looked_for_is_told():
    found = report(ledger("a", 2), skipped=("near-duplicates: too many rows",), notes=("the template adds text",))
    assert "note: not looked for: near-duplicates: too many rows\nnote: the template adds text\n" in shown(found)
