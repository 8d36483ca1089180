import re
import xml.etree.ElementTree as ET

import pytest
from fake_runs import HOSTILE, make_train_only

from tuneloop.evaluate.records import Comparison, Interval
from tuneloop.report import plots, scale, strips
from tuneloop.report.curves import Curve, Mark, curve_of
from tuneloop.report.folder import read_folder
from tuneloop.report.story import Estimate, RoundPoint, ScoreCard
from tuneloop.report.verdict import Target
from tuneloop.report.words import Words

WORDS = Words("en")


def curve(**changes) -> Curve:
    values = {
        "round": 1,
        "loss": ((0.0, 4.0), (50.0, 2.0), (100.0, 0.0)),
        "smoothed": (),
        "window": 1,
        "learning_rate": ((0.0, 0.0), (100.0, 1e-4)),
        "validation": ((50.0, 1.0),),
        "skipped": (),
        "stages": (),
        "kept": None,
        "done": 100,
        "planned": 100,
    }
    return Curve(**{**values, **changes})


def corners(svg: str, name: str) -> list[tuple[float, float]]:
    found = re.search(rf'<polyline class="{name}" points="([^"]*)"', svg)
    assert found
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 3, [0, 1, 2, 3]),
        (-0.1, 0.05, [-0.1, -0.05, 0, 0.05]),
        (0, 2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]),
    ],
)
def test_ticks_are_round_and_inside(low, high, expected):
    assert scale.ticks(low, high) == pytest.approx(expected)


def test_range_takes_in_zero_where_it_is_near_and_never_collapses():
    assert scale.nice_range([0.2, 0.93]) == pytest.approx((0, 1))
    assert scale.nice_range([1.8, 2.4]) == pytest.approx((1.8, 2.4))
    assert scale.nice_range([-0.3, -0.05]) == pytest.approx((-0.3, 0))
    low, high = scale.nice_range([5.0, 5.0])
    assert low < 5 < high
    assert scale.nice_range([0.0]) == pytest.approx((-1, 1))


def test_tick_labels_share_their_decimals():
    assert scale.tick_labels([0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert scale.tick_labels([-1, 0, 1]) == ["\N{MINUS SIGN}1", "0", "1"]
    assert scale.tick_labels([0, 5e-5, 1e-4]) == ["0", "5e-5", "1e-4"]


def test_known_points_land_on_their_pixels():
    svg = plots.loss_plot(curve(), WORDS, width=600, height=300)
    # x: 48 px margin left, 14 right; y: 30 above, 38 below; loss 0..4 over steps 0..100.
    assert corners(svg, "smooth") == [(48.0, 30.0), (317.0, 146.0), (586.0, 262.0)]
    assert corners(svg, "validation-line") == [(317.0, 204.0)]


def test_hover_strips_tile_the_plot_and_tell_numbers():
    svg = plots.loss_plot(curve(), WORDS, width=600, height=300)
    strips_found = [tuple(map(float, pair)) for pair in re.findall(r'<rect x="([\d.]+)" y="30" width="([\d.]+)"', svg)]
    assert strips_found[0][0] == 48
    assert sum(width for _, width in strips_found) == pytest.approx(538, abs=0.2)
    assert "step 50\ntrain 2.00" in svg


def test_every_plot_is_well_formed_xml_even_with_hostile_words():
    evil = HOSTILE[0] + HOSTILE[1] + HOSTILE[4]
    interval = Interval(low=-0.1, high=0.3)
    card = ScoreCard(
        metric=evil,
        is_main=True,
        before=Estimate(0.1, interval),
        after=Estimate(0.2, None),
        comparison=Comparison(metric=evil, before=0.1, after=0.2, difference=0.1, interval=interval),
        outcome="no_clear_difference",
        higher_is_better=True,
        n=3,
        signature=evil,
    )
    drawn = [
        plots.loss_plot(curve(skipped=(Mark(3, evil),), stages=(Mark(50, evil),), kept=Mark(90, "")), WORDS),
        plots.rate_plot(curve(), WORDS),
        plots.rounds_plot(
            [RoundPoint(0, Estimate(0.1, None), "base"), RoundPoint(1, Estimate(0.5, interval), "rejected")],
            Target(evil, evil, 0.4),
            evil,
            WORDS,
        ),
        strips.score_strip(card, WORDS),
        strips.share_bar([("kept", 90), (evil, 10)]),
    ]
    for svg in drawn:
        ET.fromstring(svg)
        assert "<script" not in svg


def test_share_bar_parts_are_in_proportion():
    svg = strips.share_bar([("kept", 75), ("overlong", 20), ("duplicate", 5)])
    assert re.findall(r'width="([\d.]+)"', svg) == ["750.00", "200.00", "50.00"]
    assert "overlong: 20\N{NO-BREAK SPACE}%" in svg


def test_difference_stands_on_the_right_side_of_zero():
    def dot_and_zero(low, value, high):
        comparison = Comparison(
            metric="f1", before=0, after=value, difference=value, interval=Interval(low=low, high=high)
        )
        after = Estimate(abs(value), None)
        card = ScoreCard("f1", True, None, after, comparison, "better", True, 9, "")  # noqa: FBT003
        svg = strips.score_strip(card, WORDS)
        zero = float(re.search(r'class="zero" x1="([\d.]+)"', svg)[1])
        dot = float(re.search(r'estimate better">.*?class="dot" d="M([\d.]+)', svg)[1])
        return dot - zero

    assert dot_and_zero(0.1, 0.2, 0.3) > 0
    assert dot_and_zero(-0.3, -0.2, -0.1) < 0


def test_resumed_steps_count_once_and_the_later_one_wins(tmp_path):
    run = read_folder(make_train_only(tmp_path / "resumed"))
    assert len(run.of_kind("step")) > 168
    found = curve_of(run, 1)
    assert [x for x, _ in found.loss] == list(range(1, 169))
    assert max(value for _, value in found.loss) < 9
    assert found.done == found.planned == 168
    assert [x for x, _ in found.validation] == [28, 56, 84, 112, 140, 168]


def test_stages_follow_each_other_on_one_axis(tmp_path):
    run = read_folder(tmp_path)
    events = tuple(
        {"kind": "step", "round": 1, "stage": stage, "step": step, "steps": 10, "loss": 1.0, "learning_rate": 0.1}
        for stage in (1, 2)
        for step in range(1, 11)
    )
    object.__setattr__(run, "events", events)
    found = curve_of(run, 1)
    assert [x for x, _ in found.loss] == list(range(1, 21))
    assert found.stages == (Mark(10, "2"),)
    assert found.planned == 20


def test_loss_that_is_not_finite_leaves_a_gap(tmp_path):
    run = read_folder(tmp_path)
    losses = [1.0, None, 0.5]
    events = tuple({"kind": "step", "step": step, "steps": 3, "loss": loss} for step, loss in enumerate(losses, 1))
    object.__setattr__(run, "events", events)
    found = curve_of(run, 1)
    assert found.loss == ((1.0, 1.0), (3.0, 0.5))
    assert plots.rate_plot(found, WORDS) == ""


def test_thinning_keeps_spikes_and_ends_small():
    points = [(float(x), 1.0) for x in range(20_000)]
    points[12_345] = (12_345.0, 99.0)
    points[777] = (777.0, -5.0)
    kept = scale.thin(points)
    assert len(kept) <= scale.MAX_POINTS
    assert (12_345.0, 99.0) in kept
    assert (777.0, -5.0) in kept
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})


def test_running_mean_of_a_constant_is_the_constant_and_of_a_line_the_line():
    assert scale.running_mean([2.0] * 30, 5) == pytest.approx([2.0] * 30)
    assert scale.running_mean([float(i) for i in range(30)], 5)[:28] == pytest.approx(list(range(28)))


def test_a_long_curve_is_drawn_small():
    steps = tuple((float(step), 2.0 - step / 60_000) for step in range(1, 20_001))
    long = curve(loss=steps, smoothed=steps, window=2501, learning_rate=steps, done=20_000, planned=20_000)
    svg = plots.loss_plot(long, WORDS)
    assert len(svg) < 100_000
