"""The gate: accepted, rejected, and the sentence that says why."""

import pytest
from pydantic import ValidationError

from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.records import Comparison, Interval, Score
from tuneloop.iterate.config import IterateConfig, Target, parse_target
from tuneloop.iterate.gate import Verdict, judge, main_metric


def compared(metric: str, low: float, high: float, *, before: float = 0.4, higher_is_better: bool = True) -> Comparison:
    difference = (low + high) / 2
    return Comparison(
        metric=metric,
        before=before,
        after=before + difference,
        difference=difference,
        interval=Interval(low=low, high=high),
        higher_is_better=higher_is_better,
    )


def scored(metric: str, value: float, *, rows: int = 20) -> Score:
    return Score(metric=metric, value=value, n=rows, signature="")


BETTER = compared("rougeL", 0.05, 0.15)
SAME = compared("rougeL", -0.05, 0.15)
WORSE = compared("rougeL", -0.15, -0.05)
BLEU_FELL = compared("bleu", -0.2, -0.1)
BLEU_FELL_FAR = compared("bleu", -0.5, -0.3)
BLEU_SAME = compared("bleu", -0.2, 0.1)
LOSS_FELL = compared("loss", -0.9, -0.1, before=2.0, higher_is_better=False)
LOSS_ROSE = compared("loss", 0.1, 0.9, before=2.0, higher_is_better=False)


NOT_COMPARED = scored("else", 0.5)
OF = "95 % interval of the difference"


def verdict(*comparisons: Comparison, scores: tuple[Score, ...] = (NOT_COMPARED,), **config: object) -> Verdict:
    return judge(comparisons, scores, IterateConfig.model_validate(config))


def test_accepted() -> None:
    assert verdict(BETTER, BLEU_SAME, LOSS_FELL) == Verdict(
        accepted=True,
        reason="clearly better: rougeL 0.4 to 0.5 (95 % interval of the difference +0.05 to +0.15)",
        target_met=False,
    )


@pytest.mark.parametrize(
    ("comparisons", "reason"),
    [
        ((SAME,), "not clearly better: rougeL 0.4 to 0.45 (95 % interval of the difference -0.05 to +0.15)"),
        ((WORSE,), "clearly worse: rougeL 0.4 to 0.3 (95 % interval of the difference -0.15 to -0.05)"),
        (
            (BETTER, BLEU_FELL),
            "clearly worse: bleu 0.4 to 0.25 (95 % interval of the difference -0.2 to -0.1)",
        ),
        (
            (BETTER, BLEU_FELL_FAR, LOSS_ROSE),
            f"clearly worse: bleu 0.4 to 0 ({OF} -0.5 to -0.3), loss 2 to 2.5 ({OF} +0.1 to +0.9)",
        ),
        # The first one measured decides, not any.
        ((BLEU_SAME, BETTER), "not clearly better: bleu 0.4 to 0.35 (95 % interval of the difference -0.2 to +0.1)"),
        # An interval that only touches zero is no proof.
        (
            (compared("rougeL", 0.0, 0.2),),
            "not clearly better: rougeL 0.4 to 0.5 (95 % interval of the difference +0 to +0.2)",
        ),
    ],
)
def test_rejected(comparisons: tuple[Comparison, ...], reason: str) -> None:
    assert verdict(*comparisons) == Verdict(accepted=False, reason=reason, target_met=False)


def test_a_loss_is_better_where_it_falls() -> None:
    assert verdict(LOSS_FELL).accepted
    assert not verdict(LOSS_ROSE).accepted


def test_one_row_proves_nothing() -> None:
    one = Comparison(metric="rougeL", before=0.1, after=0.9, difference=0.8, interval=None)
    assert verdict(one) == Verdict(
        accepted=False, reason="not clearly better: rougeL 0.1 to 0.9 (one row: no interval)", target_met=False
    )
    # Nor does it prove a fall.
    fell = Comparison(metric="bleu", before=0.9, after=0.1, difference=-0.8, interval=None)
    assert verdict(BETTER, fell).accepted


@pytest.mark.parametrize(("rows", "config", "accepted"), [(20, {}, True), (19, {}, False), (5, {"min_rows": 5}, True)])
def test_few_rows_prove_nothing(rows: int, config: dict[str, int], *, accepted: bool) -> None:
    found = verdict(BETTER, scores=(scored("rougeL", 0.5, rows=rows),), **config)
    assert found.accepted is accepted
    if not accepted:
        assert found.reason == (
            "19 held-out rows are too few to tell (iterate.min_rows = 20); rougeL 0.4 to 0.5 (95 % interval of the "
            "difference +0.05 to +0.15)"
        )


def test_a_target_can_be_met_without_being_accepted() -> None:
    few = (scored("rougeL", 0.9, rows=3),)
    found = verdict(BETTER, scores=few, target="rougeL > 0.5")
    assert (found.accepted, found.target_met) == (False, True)
    found = verdict(SAME, scores=(scored("rougeL", 0.9),), target="rougeL > 0.5")
    assert (found.accepted, found.target_met) == (False, True)


def test_only_what_is_protected_is_protected() -> None:
    assert not verdict(BETTER, BLEU_FELL).accepted
    assert not verdict(BETTER, BLEU_FELL, protect=["bleu"]).accepted
    assert verdict(BETTER, BLEU_FELL, protect=["rougeL"]).accepted
    assert verdict(BETTER, BLEU_FELL, LOSS_FELL, protect=["loss", "rougeL"]).accepted


@pytest.mark.parametrize(
    ("operator", "value", "met"),
    [
        (">=", 0.5, True),
        (">=", 0.51, False),
        (">", 0.5, False),
        (">", 0.49, True),
        ("<=", 0.5, True),
        ("<=", 0.49, False),
        ("<", 0.5, False),
        ("<", 0.51, True),
    ],
)
def test_target(operator: str, value: float, *, met: bool) -> None:
    found = verdict(BETTER, scores=(scored("bleu", 99), scored("rougeL", 0.5)), target=f"rougeL {operator} {value}")
    assert (found.accepted, found.target_met) == (True, met)


def test_target_chooses_the_metric_that_decides() -> None:
    scores = (scored("bleu", 0.3), scored("rougeL", 0.5))
    assert verdict(BLEU_SAME, BETTER, scores=scores, target="rougeL >= 0.9") == Verdict(
        accepted=True,
        reason="clearly better: rougeL 0.4 to 0.5 (95 % interval of the difference +0.05 to +0.15)",
        target_met=False,
    )
    found = verdict(BETTER, BLEU_SAME, scores=scores, target="bleu >= 0.2")
    assert (found.accepted, found.target_met) == (False, True)


def test_target_without_a_score() -> None:
    assert not verdict(BETTER, target="rougeL >= 0.1").target_met


def test_metrics_that_are_not_measured() -> None:
    with pytest.raises(ConfigError, match=r"^iterate\.target: 'chrf' is not measured\. Measured are: rougeL, bleu\.$"):
        verdict(BETTER, BLEU_SAME, target="chrf >= 1")
    with pytest.raises(ConfigError, match=r"^iterate\.protect: 'chrf' is not measured\. Measured are: rougeL\.$"):
        verdict(BETTER, protect=["rougeL", "chrf"])


def test_main_metric() -> None:
    assert main_metric(["bleu", "rougeL"], IterateConfig()) == "bleu"
    assert main_metric(["bleu", "rougeL"], IterateConfig(target="rougeL > 1")) == "rougeL"
    with pytest.raises(ConfigError, match=r"^iterate\.target: 'chrf' is not measured\. Measured are: bleu, rougeL\.$"):
        main_metric(["bleu", "rougeL"], IterateConfig(target="chrf > 1"))


@pytest.mark.parametrize(
    ("text", "metric", "operator", "value"),
    [
        ("rougeL >= 0.45", "rougeL", ">=", 0.45),
        ("rougeL>=0.45", "rougeL", ">=", 0.45),
        ("  loss  <  1.5  ", "loss", "<", 1.5),
        ("loss <= 1e-3", "loss", "<=", 0.001),
        ("loss > -2", "loss", ">", -2.0),
        ("bleu > +20", "bleu", ">", 20.0),
        ("accuracy:yes|no|maybe >= 0.6", "accuracy:yes|no|maybe", ">=", 0.6),
    ],
)
def test_parse_target(text: str, metric: str, operator: str, value: float) -> None:
    assert parse_target(text) == Target.model_validate({"metric": metric, "operator": operator, "value": value})
    assert IterateConfig(target=text).target == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rougeL",
        "rougeL 0.45",
        "rougeL = 0.45",
        "rougeL == 0.45",
        ">= 0.45",
        "rougeL >=",
        "rougeL >= high",
        "rougeL >= nan",
        "rougeL >= 1.2.3",
        "rougeL >= 45 %",
        "0.45 <= rougeL",
        "rougeL >= 0.4 and bleu > 2",
    ],
)
def test_parse_target_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_target(text)
    with pytest.raises(ValidationError, match="number"):
        IterateConfig(target=text)


@pytest.mark.parametrize("metric", ["accuracy:正面|负面", "accuracy:very good|bad", "accuracy:A+|A-"])
def test_parse_target_of_labels_that_can_be_measured(metric: str) -> None:
    assert parse_target(f"{metric} >= 0.5").metric == metric
