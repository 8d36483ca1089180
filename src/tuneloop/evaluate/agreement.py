"""How far human raters agree, and whether that is enough to build on: one report of several coefficients."""

from typing import Literal, assert_never

import numpy as np

import tuneloop
from tuneloop.core.config import Config
from tuneloop.evaluate.alpha import Scale, build_alpha
from tuneloop.evaluate.kappa import cohen_kappa, fleiss_kappa, quadratic_weights
from tuneloop.evaluate.ratings import CodedRatings, Ratings, encode_labels, encode_numbers
from tuneloop.evaluate.records import Interval
from tuneloop.evaluate.stats import calibrated_interval, sort_samples

Reading = Literal["firm", "tentative", "not reliable", "undefined"]

_FIRM = 0.8
_TENTATIVE = 0.667
_RESAMPLES = 2000
_LEVEL = 0.95
_PAIR = 2
_NOTHING = "No item has two ratings: there is nothing to compare."


class Coefficient(Config):
    """A number, or why there is none."""

    value: float | None = None
    reason: str = ""
    """Why there is no value, as a sentence; empty where there is one."""


class AgreementParts(Config):
    """What else the table of ratings says."""

    scale: Scale
    raters: int
    """Those who rated anything."""
    items: int
    """Those that anybody rated."""
    ratings: int
    reading: Reading
    """Of alpha: from 0.8 on firm, from 0.667 on tentative, below that not reliable."""
    alpha: Coefficient
    """The report's value again, with the reason where there is none."""
    interval_reason: str
    """Why there is no interval; empty where there is one."""
    raw_agreement: Coefficient
    """Share of equal pairs of an item's ratings, averaged over items, 0 to 1; chance is not taken off."""
    cohen_kappa: Coefficient
    cohen_kappa_quadratic: Coefficient
    fleiss_kappa: Coefficient
    alpha_without: dict[str, Coefficient]
    """Alpha of the others, by rater: a rater whose absence lifts it disagrees with the rest."""


class AgreementReport(Config):
    """Krippendorff's alpha of a table of ratings, with its interval over items."""

    metric: Literal["krippendorff_alpha"] = "krippendorff_alpha"
    value: float | None
    interval: Interval | None
    n: int
    """Items with two ratings or more: only they count."""
    signature: str
    parts: AgreementParts


def agreement(ratings: Ratings, scale: Scale, seed: int) -> AgreementReport:
    """Every coefficient that fits the table and the scale; those that do not are explained in words.

    The interval is the calibrated bootstrap over items (see `calibrated_interval`), with the ranks of an ordinal
    scale taken anew in each resample: how alpha would vary over other items, rated by the same people. The
    readings are conventions (Krippendorff 2004, "Content Analysis", chapter 11), and his advice is to look at the
    lower end of the interval too.

    Raises:
        DataError: a rating is no number though the scale needs one, or there are more different values than the
            scale can have.
    """
    table = encode_labels(ratings) if scale == "nominal" else encode_numbers(ratings)
    table = _without_silent(table)
    alpha = _alpha(table, scale)
    interval, interval_reason = _interval(table, scale, alpha, seed)
    rated_U = (table.codes_RU >= 0).sum(axis=0)
    parts = AgreementParts(
        scale=scale,
        raters=len(table.raters),
        items=int((rated_U > 0).sum()),
        ratings=int(rated_U.sum()),
        reading=read_alpha(alpha.value),
        alpha=alpha,
        interval_reason=interval_reason,
        raw_agreement=_raw_agreement(table),
        cohen_kappa=_cohen(table, scale, is_quadratic=False),
        cohen_kappa_quadratic=_cohen(table, scale, is_quadratic=True),
        fleiss_kappa=_fleiss(table, scale),
        alpha_without={name: _alpha(table.without(index), scale) for index, name in enumerate(table.raters)},
    )
    signature = (
        f"scale:{scale}|interval:calibrated-bootstrap-over-items|resamples:{_RESAMPLES}|seed:{seed}"
        f"|version:tuneloop-{tuneloop.__version__}"
    )
    return AgreementReport(
        value=alpha.value, interval=interval, n=int((rated_U > 1).sum()), signature=signature, parts=parts
    )


def read_alpha(value: float | None) -> Reading:
    """What alpha allows, by convention: 0.8 firm conclusions, 0.667 tentative ones, less none.

    Source: Krippendorff 2004, "Content Analysis", 2nd edition, section 11.4.2.
    """
    if value is None:
        return "undefined"
    if value >= _FIRM:
        return "firm"
    return "tentative" if value >= _TENTATIVE else "not reliable"


def _without_silent(table: CodedRatings) -> CodedRatings:
    for index in reversed(range(len(table.raters))):
        if (table.codes_RU[index] < 0).all():
            table = table.without(index)
    return table


def _alpha(table: CodedRatings, scale: Scale) -> Coefficient:
    codes_RN = table.pairable().codes_RU
    used = np.unique(codes_RN[codes_RN >= 0])
    if len(used) == 0:
        return Coefficient(reason=_NOTHING)
    if len(used) == 1:
        label = table.labels[used[0]]
        return Coefficient(
            reason=f"All ratings are '{label}': without a second value agreement cannot be told from chance."
        )
    return Coefficient(value=build_alpha(table, scale).value)


def _interval(table: CodedRatings, scale: Scale, alpha: Coefficient, seed: int) -> tuple[Interval | None, str]:
    """The interval of alpha, or why there is none."""
    if alpha.value is None:
        return None, alpha.reason
    size_N, equal_N = _pairs(table)
    if len(size_N) == 1:
        return None, "One item with two ratings shows no spread. Rate more items."
    unanimous_M = table.pairable().codes_RU.max(axis=0)[equal_N == size_N * (size_N - 1)]
    if len(unanimous_M) and np.bincount(unanimous_M).max() >= len(size_N) - 1:
        return None, "All items but one have one and the same value. Rate items that differ more."
    measure = build_alpha(table, scale)
    statistics = sort_samples(measure.statistics_NK)
    return calibrated_interval(measure.value_of, statistics, seed=seed, resamples=_RESAMPLES, level=_LEVEL), ""


def _raw_agreement(table: CodedRatings) -> Coefficient:
    size_N, equal_N = _pairs(table)
    if len(size_N) == 0:
        return Coefficient(reason=_NOTHING)
    return Coefficient(value=float((equal_N / (size_N * (size_N - 1))).mean()))


def _pairs(table: CodedRatings) -> tuple[np.ndarray, np.ndarray]:
    """Of each item with two ratings or more: their number, and how many ordered pairs of them are equal."""
    codes_RN = table.pairable().codes_RU
    _, items_P = np.nonzero(codes_RN >= 0)
    # A table of items by values would be too large where every rating is another number.
    cells_Q, counts_Q = np.unique(np.stack([items_P, codes_RN[codes_RN >= 0]]), axis=1, return_counts=True)
    equal_N = np.bincount(cells_Q[0], weights=counts_Q * (counts_Q - 1), minlength=codes_RN.shape[1])
    return (codes_RN >= 0).sum(axis=0), equal_N


def _cohen(table: CodedRatings, scale: Scale, *, is_quadratic: bool) -> Coefficient:
    size = len(table.labels)
    match scale:
        case "interval":
            return Coefficient(reason="Kappa counts categories; an interval scale has none.")
        case "nominal" if is_quadratic:
            return Coefficient(reason="Weights need an order; a nominal scale has none.")
        case "nominal" | "ordinal":
            weights_VV = quadratic_weights(table.numbers_V) if is_quadratic else 1 - np.eye(size)
        case unreachable:
            assert_never(unreachable)
    if len(table.raters) != _PAIR:
        return Coefficient(reason=f"Cohen's kappa is of two raters; here are {len(table.raters)}.")
    first_N, second_N = table.pairable().codes_RU
    if len(first_N) == 0:
        return Coefficient(reason=_NOTHING)
    value = cohen_kappa(first_N, second_N, weights_VV)
    if value is None:
        return Coefficient(reason=f"Both raters always said '{table.labels[first_N[0]]}': chance explains all of it.")
    return Coefficient(value=value)


def _fleiss(table: CodedRatings, scale: Scale) -> Coefficient:
    if scale != "nominal":
        return Coefficient(reason="Fleiss' kappa knows no order of values; it is for nominal scales.")
    sizes = (table.codes_RU >= 0).sum(axis=0)
    if not (sizes >= _PAIR).any():
        return Coefficient(reason=_NOTHING)
    if len(np.unique(sizes[sizes > 0])) > 1:
        return Coefficient(reason="Fleiss' kappa needs the same number of ratings for every item.")
    value = fleiss_kappa(table.pairable().counts())
    if value is None:
        return Coefficient(reason="All ratings are equal: chance explains all of it.")
    return Coefficient(value=value)
