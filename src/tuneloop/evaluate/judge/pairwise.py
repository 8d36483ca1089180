"""Pairs in both orders: what is asked, what both replies say together, and the numbers over all pairs."""

from collections.abc import Sequence
from typing import assert_never

from tuneloop.data.schema import Message
from tuneloop.evaluate.judge.config import JudgeConfig
from tuneloop.evaluate.judge.length import control_length
from tuneloop.evaluate.judge.measure import VerdictMean, score_verdicts
from tuneloop.evaluate.judge.prompts import pair_prompt
from tuneloop.evaluate.judge.records import OrderVerdict, PairsResult, PairVerdict, Side
from tuneloop.evaluate.judge.rows import Pair
from tuneloop.evaluate.judge.verdicts import Shown, parse_verdict
from tuneloop.evaluate.metrics.segment import Language
from tuneloop.generate.chat import CallFailure, ChatRequest, Completion

_POINTS: dict[Side, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


def pair_requests(pairs: Sequence[Pair], language: Language) -> list[ChatRequest]:
    """Two requests a pair: A first, then B first."""
    return [
        ChatRequest((Message("user", pair_prompt(pair, language, is_swapped=is_swapped)),))
        for pair in pairs
        for is_swapped in (False, True)
    ]


def read_pair(pair: Pair, replies: tuple[Completion | CallFailure, Completion | CallFailure]) -> PairVerdict:
    """Both replies to one verdict.

        both say A: A;  both say B: B;  both say tie, one says tie, or they differ: tie;  one says nothing: none

    Source: Zheng et al. 2023 (arXiv:2306.05685), section 3.4, its conservative rule: an answer wins only where it
    is preferred in both orders.
    """
    orders = (_read_order(replies[0], is_swapped=False), _read_order(replies[1], is_swapped=True))
    said = {order.verdict for order in orders}
    outcome: Side | None = None if None in said else (orders[0].verdict if len(said) == 1 else "tie")
    return PairVerdict(
        id=pair.id,
        prompt=pair.prompt,
        answer_a=pair.answer_a,
        answer_b=pair.answer_b,
        reference=pair.reference,
        orders=orders,
        outcome=outcome,
        is_flip=said == {"a", "b"},
    )


def _read_order(reply: Completion | CallFailure, *, is_swapped: bool) -> OrderVerdict:
    parsed = parse_verdict(reply)
    return OrderVerdict(
        first="b" if is_swapped else "a",
        verdict=None if parsed.shown is None else _side(parsed.shown, is_swapped=is_swapped),
        reason=parsed.reason,
        text=reply.text if isinstance(reply, Completion) else reply.message,
    )


def _side(shown: Shown, *, is_swapped: bool) -> Side:
    match shown:
        case "tie":
            return "tie"
        case "first":
            return "b" if is_swapped else "a"
        case "second":
            return "a" if is_swapped else "b"
        case unreachable:
            assert_never(unreachable)


def summarise_pairs(verdicts: Sequence[PairVerdict], config: JudgeConfig, details: str) -> PairsResult:
    """The numbers over the pairs that have a verdict (one at least)."""
    judged = [verdict for verdict in verdicts if verdict.outcome is not None]
    outcomes = [verdict.outcome for verdict in judged if verdict.outcome is not None]
    points = [_POINTS[outcome] for outcome in outcomes]
    flips = [verdict for verdict in judged if verdict.is_flip]
    to_first = sum(verdict.orders[0].verdict == "a" for verdict in flips)
    # A bootstrap of equal outcomes has no width; Wilson's interval has, and is too wide for ties rather than too
    # narrow, since halves spread less than zeros and ones.
    is_plain = "tie" not in outcomes or set(outcomes) == {"tie"}
    win_rate = VerdictMean("win_rate", f"{details}|orders:both|ties:half", is_proportion=is_plain)
    bias = VerdictMean("position_bias", f"{details}|flips/judged", is_proportion=True, higher_is_better=False)
    chance = {"seed": config.seed, "resamples": config.resamples}
    return PairsResult(
        wins=outcomes.count("a"),
        ties=outcomes.count("tie"),
        losses=outcomes.count("b"),
        flips_to_first=to_first,
        flips_to_second=len(flips) - to_first,
        half_ties=sum({"tie"} < {order.verdict for order in verdict.orders} for verdict in judged),
        win_rate=score_verdicts(win_rate, points, **chance),
        position_bias=score_verdicts(bias, [float(verdict.is_flip) for verdict in judged], **chance),
        length=control_length(
            points,
            [len(verdict.answer_a) for verdict in judged],
            [len(verdict.answer_b) for verdict in judged],
            **chance,
        ),
    )
