"""Filters find the answer, or say that there is none."""

import pytest

from tuneloop.evaluate.tasks.filters import apply_filters, check_filter


@pytest.mark.parametrize(
    ("filters", "text", "answer"),
    [
        ((), " a ", " a "),
        (("strip",), " a ", "a"),
        (("strip", "lower"), " A\n", "a"),
        (("first_line",), "\n  one\ntwo", "one"),
        (("last_line",), "one\n two \n\n", "two"),
        (("last_line",), " \n", None),
        (("number",), "so it is 1,234.50 in all", "1234.5"),
        (("number",), "no digits", None),
        (("letters",), "正确答案:B、D", "BD"),
        (("letters:ABCDE",), "The answer is E.", "E"),
        (("letters",), "I do not know", None),
        (("boxed",), r"thus \boxed{x^{2}}", "x^{2}"),
        (("code",), "Sure:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        (("final", "strip"), "<think>5</think> 7", "7"),
        (("after:####", "strip"), "a #### 1 #### 2 ", "2"),
        (("after:####", "number"), "it is 18", None),
        (("before:。",), "甲。乙", "甲"),
        (("before:。",), "甲", "甲"),
        (("regex:答案是(.)",), "答案是甲。不是乙", "甲"),
        (("regex:[0-9]+",), "a 12 b 3", "12"),
        (("regex:[0-9]+", "lower"), "none", None),
    ],
)
def test_what_filters_find(filters: tuple[str, ...], text: str, answer: str | None) -> None:
    assert apply_filters(filters, text) == answer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numbr", "Did you mean 'number'?"),
        ("regex:(", "not a regular expression"),
        ("regex:", "there is no filter 'regex:'"),
        ("strip:x", "there is no filter"),
        ("zzz", "Choose from: strip, lower"),
    ],
)
def test_a_wrong_filter_is_told(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", "[(]").replace("?", "[?]")):
        check_filter(name)
