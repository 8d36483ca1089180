"""Agreement of raters: reading their table, published examples, what must not matter, and what has no answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.evaluate.agreement import AgreementReport, agreement, read_alpha
from tuneloop.evaluate.alpha import Scale, build_alpha
from tuneloop.evaluate.kappa import cohen_kappa, fleiss_kappa, quadratic_weights
from tuneloop.evaluate.ratings import Ratings, encode_labels, encode_numbers, read_ratings

SCALES = get_args(Scale)

KRIPPENDORFF = """\
,u1,u2,u3,u4,u5,u6,u7,u8,u9,u10,u11,u12
A,1,2,3,3,2,1,4,1,2,,,
B,1,2,3,3,2,2,4,1,2,5,,3
C,,3,3,3,2,3,4,2,2,5,1,
D,1,2,3,3,2,4,4,1,2,5,1,
"""

# Fleiss 1971, table 1: diagnoses of 30 patients by 6 psychiatrists; how often each of 5 was given.
FLEISS = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def table(*rows: Sequence[object]) -> Ratings:
    """A row a rater; None is missing."""
    cells = tuple(tuple("" if cell is None else str(cell) for cell in row) for row in rows)
    names = tuple(f"r{index}" for index in range(len(rows)))
    return Ratings(
        names,
        tuple(f"i{index}" for index in range(len(cells[0]))),
        cells,
        tuple(f"ratings.csv:{row + 2}" for row in range(len(rows))),
    )


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "ratings.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def alpha(ratings: Ratings, scale: Scale) -> float | None:
    coded = encode_labels(ratings) if scale == "nominal" else encode_numbers(ratings)
    return build_alpha(coded, scale).value


# Reading


def test_a_table_is_read_as_it_stands(tmp_path: Path) -> None:
    ratings = read_ratings(write(tmp_path, "who,q1,q2\r\nAnn, yes ,\r\n\r\nBob,no,yes\r\n"))
    assert ratings.raters == ("Ann", "Bob")
    assert ratings.items == ("q1", "q2")
    assert ratings.cells == (("yes", ""), ("no", "yes"))
    assert ratings.places == (f"{tmp_path / 'ratings.csv'}:2", f"{tmp_path / 'ratings.csv'}:4")


@pytest.mark.parametrize(
    "text",
    [
        "评分者,问题一,问题二\n张三,好,坏\n李四,坏,",
        "评分者;问题一;问题二\n张三;好;坏\n李四;坏;\n;;\n",
        "评分者\t问题一\t问题二\n张三\t好\t坏\n李四\t坏\t\n",
        '"评分者","问题一","问题二"\n"张三","好","坏"\n"李四","坏",""\n',
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_and_byte_order_marks_do_not_matter(tmp_path: Path, text: str, mark: bytes) -> None:
    ratings = read_ratings(write(tmp_path, mark + text.encode()))
    assert ratings.raters == ("张三", "李四")
    assert ratings.items == ("问题一", "问题二")
    assert ratings.cells == (("好", "坏"), ("坏", ""))


def test_a_separator_in_quotes_is_a_part_of_the_name(tmp_path: Path) -> None:
    ratings = read_ratings(write(tmp_path, '"who, when";"one, two,\nthree"\nAnn;"a,b"\n'))
    assert ratings.items == ("one, two,\nthree",)
    assert ratings.cells == (("a,b",),)


def test_equal_text_in_another_form_of_unicode_is_equal(tmp_path: Path) -> None:
    ratings = read_ratings(write(tmp_path, "x,a\nAnn,caf\u00e9\nBob,cafe\u0301\n"))
    assert ratings.cells[0] == ratings.cells[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"csv:1: the first row names no items"),
        ("\n\n ,,\n", r"csv:1: the first row names no items"),
        ("rater\nAnn\n", r"csv:1: the first row names no items"),
        ("rater,a,b\n", "holds no ratings"),
        ("rater,a,a\nAnn,1,2\n", r"csv:1: column 3: the item 'a' is given twice, first at .*csv:1: column 2"),
        ("rater,a,,b\nAnn,1,2,3\n", r"csv:1: column 3: the item has no name"),
        ("rater,a\nAnn,1\nBob,2\nAnn,3\n", r"csv:4: the rater 'Ann' is given twice, first at .*csv:2"),
        ("rater,a\n,1\n", r"csv:2: the rater has no name"),
        ("rater,a,b\nAnn,1\n", r"csv:2: this row has 2 cells, the first row has 3"),
        ("rater,a,b\nAnn,1,2,3\n", r"csv:2: this row has 4 cells, the first row has 3"),
        ('rater,a\nAnn,"so\nfar"\nBob,1,2\n', r"csv:4: this row has 3 cells"),
        ('rater,a\nAnn,"never closed\nBob,1\n', r"csv:2: not valid CSV: unexpected end of data"),
        ('rater,a\nAnn,"yes"no\n', r"csv:2: not valid CSV"),
        (b"rater,a\nAnn,\xff\n", "not a UTF-8 text file"),
        ("rater,a\nAnn,1\n".encode("utf-16"), "not a UTF-8 text file"),
        ("rater,a\nAnn," + "x" * 200_000, r"csv:2: not valid CSV: field larger"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_ratings(write(tmp_path, text))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_ratings(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_ratings(tmp_path)


@pytest.mark.parametrize("cell", ["good", "1,5", "nan", "inf", "1_000", "NA"])
@pytest.mark.parametrize("scale", ["ordinal", "interval"])
def test_a_rating_that_is_no_number_says_where(cell: str, scale: Scale) -> None:
    with pytest.raises(DataError, match=rf"ratings.csv:3: item 'i1': '{cell}' is no number"):
        agreement(table([1, 2, 3], [1, cell, 3]), scale, 0)


def test_numbers_are_equal_however_they_are_written() -> None:
    one = agreement(table([1, 2, 3, 0], [1, 2, 2, 0]), "ordinal", 0)
    other = agreement(table(["1.0", "2", "3e0", "-0"], ["1", "２", "02", "0.0"]), "ordinal", 0)  # noqa: RUF001 - as a Chinese keyboard writes it
    assert other == one


# Published examples


def test_krippendorffs_example(tmp_path: Path) -> None:
    """Krippendorff 2011, section E: 0.743, 0.815, 0.849."""
    ratings = read_ratings(write(tmp_path, KRIPPENDORFF))
    found = {scale: agreement(ratings, scale, 0) for scale in SCALES}
    assert {scale: pytest.approx(report.value, abs=5e-4) for scale, report in found.items()} == {
        "nominal": 0.743,
        "ordinal": 0.815,
        "interval": 0.849,
    }
    report = found["nominal"]
    # 12 items, but nobody agrees or disagrees about the last: one rating.
    assert (report.n, report.parts.items, report.parts.raters, report.parts.ratings) == (11, 12, 4, 41)
    assert report.parts.reading == "tentative"
    assert found["ordinal"].parts.reading == "firm"


def test_fleiss_example() -> None:
    counts_NV = np.array([[int(digit) for digit in item] for item in FLEISS.split()])
    assert counts_NV.shape == (30, 5)
    assert (counts_NV.sum(axis=1) == 6).all()
    assert fleiss_kappa(counts_NV) == pytest.approx(0.430, abs=5e-4)


def test_fleiss_kappa_of_fourteen_raters_through_the_report() -> None:
    """Ten items, five categories; kappa 0.210 (the worked example of Wikipedia's "Fleiss' kappa")."""
    counts = "0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1|7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7"
    items = [np.repeat(np.arange(5), [int(n) for n in item.split()]) for item in counts.split("|")]
    report = agreement(table(*np.array(items).T.tolist()), "nominal", 0)
    assert report.parts.fleiss_kappa.value == pytest.approx(0.210, abs=5e-4)
    # The mean share of equal pairs is worked out there too.
    assert report.parts.raw_agreement.value == pytest.approx(0.378, abs=5e-4)


def test_cohens_example() -> None:
    """Cohen 1968, table 1: 200 cases, 0.70 observed, 0.41 by chance: kappa = 0.29 / 0.59."""
    cells = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
    first, second = (np.repeat(axis.ravel(), cells.ravel()) for axis in np.indices((3, 3)))
    assert cohen_kappa(first, second, 1 - np.eye(3)) == pytest.approx(0.29 / 0.59)
    report = agreement(table(first.tolist(), second.tolist()), "nominal", 0)
    assert report.parts.cohen_kappa.value == pytest.approx(0.4915, abs=5e-5)
    assert report.parts.raw_agreement.value == pytest.approx(0.70)


def test_quadratic_kappa_knows_how_far_apart_ranks_are() -> None:
    """By hand: observed (0 + 1 + 0 + 9)/4 = 10/4; all 4 x 4 pairs of both raters' ratings: 110/16; 1 - 40/110."""
    report = agreement(table([1, 1, 5, 2], [1, 2, 5, 5]), "ordinal", 0)
    assert report.parts.cohen_kappa_quadratic.value == pytest.approx(1 - 40 / 110)
    assert quadratic_weights(np.array([1.0, 2.0, 5.0])).tolist() == [[0, 1, 16], [1, 0, 9], [16, 9, 0]]


# What must not matter

CELLS = st.sampled_from([None, 1, 2, 3, 5])
quickly = settings(deadline=None, max_examples=25)


@st.composite
def tables(draw: st.DrawFn) -> list[list[int | None]]:
    raters, items = draw(st.integers(2, 4)), draw(st.integers(2, 7))
    rows = draw(st.lists(st.lists(CELLS, min_size=items, max_size=items), min_size=raters, max_size=raters))
    columns = [[cell for cell in column if cell is not None] for column in zip(*rows, strict=True)]
    assume(len({cell for column in columns if len(column) > 1 for cell in column}) > 1)
    return rows


@pytest.mark.parametrize("scale", SCALES)
@given(rows=tables(), data=st.data())
@quickly
def test_the_order_of_raters_and_items_does_not_matter(rows: list, data: st.DataObject, scale: Scale) -> None:
    items = data.draw(st.permutations(range(len(rows[0]))))
    shuffled = [[row[item] for item in items] for row in data.draw(st.permutations(rows))]
    one, other = alpha(table(*rows), scale), alpha(table(*shuffled), scale)
    assert one is not None
    assert one <= 1
    assert other == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@given(rows=tables())
@quickly
def test_what_nobody_can_disagree_with_does_not_matter(rows: list, scale: Scale) -> None:
    """An item of one rater, an item of none, a rater of nothing."""
    longer = [[*row, 5 if index == 0 else None, None] for index, row in enumerate(rows)]
    assert alpha(table(*longer, [None] * len(longer[0])), scale) == pytest.approx(alpha(table(*rows), scale), abs=1e-12)


@given(rows=tables())
@quickly
def test_each_scale_knows_only_what_it_may_know(rows: list) -> None:
    """Nominal: not the names. Ordinal: not the distances. Interval: not the unit and the origin."""
    changes = {
        "nominal": {1: "丙", 2: "乙", 3: "丁", 5: "甲"},
        "ordinal": {1: -7, 2: 0.5, 3: 0.75, 5: 1000},
        "interval": {1: 1e9 - 3.0, 2: 1e9 - 6.0, 3: 1e9 - 9.0, 5: 1e9 - 15.0},
    }
    for scale, renamed in changes.items():
        changed = [[None if cell is None else renamed[cell] for cell in row] for row in rows]
        assert alpha(table(*changed), scale) == pytest.approx(alpha(table(*rows), scale), abs=1e-6)


@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=8))
@quickly
def test_alpha_and_fleiss_kappa_differ_by_their_correction_for_few_ratings(counts: list[int]) -> None:
    """(1 - alpha) / (1 - kappa) = (n - 1)/n with n ratings, where every item has the same number."""
    rows = [[int(rater < count) for count in counts] for rater in range(4)]
    assume(0 < sum(counts) < 4 * len(counts))
    report = agreement(table(*rows), "nominal", 0)
    kappa, n = report.parts.fleiss_kappa.value, 4 * len(counts)
    assert report.value is not None
    assert kappa is not None
    assert 1 - report.value == pytest.approx((1 - kappa) * (n - 1) / n)


@pytest.mark.parametrize("scale", SCALES)
def test_full_agreement_is_one_and_chance_is_near_zero(scale: Scale) -> None:
    rng = np.random.default_rng(3)
    same = rng.integers(1, 6, size=60)
    report = agreement(table(*[same.tolist()] * 3), scale, 0)
    assert report.value == 1
    assert report.interval is not None
    assert (report.interval.low, report.interval.high) == (1, 1)
    report = agreement(table(*rng.integers(1, 6, size=(3, 2000)).tolist()), scale, 0)
    # Three pairs an item: alpha of chance scatters by about 1 / sqrt(3 * 2000) = 0.013.
    assert report.value == pytest.approx(0, abs=0.04)


def test_opposite_ratings_are_below_zero() -> None:
    report = agreement(table([1, 2, 1, 2], [2, 1, 2, 1]), "nominal", 0)
    # Do = 1; De = 2 * 4 * 4 / (8 * 7) = 4/7; 1 - 7/4
    assert report.value == pytest.approx(-0.75)
    assert report.parts.cohen_kappa.value == -1


@pytest.mark.parametrize("scale", SCALES)
def test_the_interval_holds_alpha_and_follows_the_seed(scale: Scale) -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(1, 6, size=40)
    rows = np.clip(truth + rng.integers(-1, 2, size=(3, 40)), 1, 5)
    first = agreement(table(*rows.tolist()), scale, 1)
    assert first.interval is not None
    assert first.value is not None
    assert first.interval.low < first.value < first.interval.high <= 1
    assert agreement(table(*rows.tolist()), scale, 1) == first
    assert agreement(table(*rows[:, ::-1].tolist()), scale, 1).interval == first.interval
    assert agreement(table(*rows.tolist()), scale, 2).interval != first.interval


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    def draw(rng: np.random.Generator, items: int) -> Ratings:
        latent = rng.normal(size=items) + 0.4 * rng.normal(size=(3, items))
        return table(*np.clip(np.floor(2 * latent) + 3, 1, 5).astype(int).tolist())

    truth = alpha(draw(np.random.default_rng(0), 200_000), "interval")
    rng = np.random.default_rng(1)
    found = [agreement(draw(rng, 40), "interval", seed).interval for seed in range(300)]
    held = np.mean([interval is not None and interval.low <= truth <= interval.high for interval in found])
    # Two standard errors of 300 sets are 2.5 points.
    assert 0.93 - 0.025 <= held <= 0.97 + 0.025


def test_leaving_out_the_rater_who_disagrees_lifts_alpha() -> None:
    rng = np.random.default_rng(6)
    good = rng.integers(1, 4, size=30)
    report = agreement(table(good.tolist(), good.tolist(), rng.integers(1, 4, size=30).tolist()), "nominal", 0)
    without = {name: found.value for name, found in report.parts.alpha_without.items()}
    assert without["r2"] == 1
    assert report.value is not None
    assert without["r0"] is not None
    assert without["r0"] < report.value < 1


# What has no answer


def reasons(report: AgreementReport) -> dict[str, str]:
    parts = report.parts
    return {
        "alpha": parts.alpha.reason,
        "interval": parts.interval_reason,
        "raw": parts.raw_agreement.reason,
        "cohen": parts.cohen_kappa.reason,
        "quadratic": parts.cohen_kappa_quadratic.reason,
        "fleiss": parts.fleiss_kappa.reason,
    }


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "rows",
    [
        [[1, None, 2], [None, 1, None]],
        [[1, 2, 3]],
        [[None, None], [None, None]],
        [[None], [1]],
    ],
)
def test_nothing_to_compare_is_said_in_words(rows: list, scale: Scale) -> None:
    report = agreement(table(*rows), scale, 0)
    assert (report.value, report.interval, report.n) == (None, None, 0)
    assert report.parts.reading == "undefined"
    found = reasons(report)
    assert all(found.values())
    assert "No item has two ratings" in found["alpha"]
    assert found["interval"] == found["raw"] == found["alpha"]


@pytest.mark.parametrize("scale", SCALES)
def test_one_value_only_is_said_in_words(scale: Scale) -> None:
    report = agreement(table([4, 4, 4, 5], [4, 4, 4, None]), scale, 0)
    assert report.value is None
    assert "All ratings are '4'" in report.parts.alpha.reason
    assert report.parts.raw_agreement.value == 1
    if scale != "interval":
        assert "Both raters always said '4'" in report.parts.cohen_kappa.reason


def test_too_little_for_an_interval_is_said_in_words() -> None:
    report = agreement(table([1, 2], [2, None]), "nominal", 0)
    assert report.value == 0
    assert report.interval is None
    assert "One item with two ratings" in report.parts.interval_reason
    report = agreement(table([1, 1, 1, 2], [1, 1, 1, 1]), "nominal", 0)
    assert report.value is not None
    assert report.interval is None
    assert "All items but one" in report.parts.interval_reason
    assert agreement(table([1, 1, 2, 2], [1, 1, 1, 1]), "nominal", 0).interval is not None


def test_coefficients_that_do_not_fit_say_why() -> None:
    three = [[1, 2, 1], [2, 2, 1], [1, 1, None]]
    found = reasons(agreement(table(*three), "nominal", 0))
    assert found["alpha"] == found["raw"] == ""
    assert "two raters; here are 3" in found["cohen"]
    assert "need an order" in found["quadratic"]
    assert "same number of ratings" in found["fleiss"]
    found = reasons(agreement(table(*three[:2]), "ordinal", 0))
    assert found["cohen"] == found["quadratic"] == ""
    assert "nominal scales" in found["fleiss"]
    found = reasons(agreement(table(*three[:2]), "interval", 0))
    assert "interval scale has none" in found["cohen"]


def test_the_third_rater_who_said_nothing_is_no_rater() -> None:
    report = agreement(table([1, 2, 1], [2, 2, 1], [None, None, None]), "nominal", 0)
    assert report.parts.raters == 2
    assert report.parts.cohen_kappa.value is not None
    assert set(report.parts.alpha_without) == {"r0", "r1"}
    assert "No item" in report.parts.alpha_without["r0"].reason


def test_more_values_than_a_scale_can_have_is_an_error() -> None:
    many = list(range(1001))
    with pytest.raises(DataError, match=r"1001 different values\. At most 1000 are labels"):
        agreement(table(many, many), "nominal", 0)
    with pytest.raises(DataError, match=r"1001 different values\. At most 50 are ranks"):
        agreement(table(many, many), "ordinal", 0)
    assert agreement(table(many, many), "interval", 0).value == 1


@pytest.mark.parametrize(
    ("value", "reading"),
    [
        (1, "firm"),
        (0.8, "firm"),
        (0.7999, "tentative"),
        (0.667, "tentative"),
        (0.66, "not reliable"),
        (-0.2, "not reliable"),
        (None, "undefined"),
    ],
)
def test_readings(value: float | None, reading: str) -> None:
    assert read_alpha(value) == reading


def test_the_report_is_json_that_a_program_can_read() -> None:
    report = agreement(table(["好", "坏", "好"], ["好", "坏", "坏"]), "nominal", 7)
    found = report.model_dump(mode="json")
    assert list(found) == ["metric", "value", "interval", "n", "signature", "parts"]
    assert found["metric"] == "krippendorff_alpha"
    assert found["signature"].startswith("scale:nominal|")
    assert "seed:7" in found["signature"]
    assert AgreementReport.model_validate_json(report.model_dump_json()) == report
