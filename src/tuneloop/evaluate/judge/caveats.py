"""What a reader must know before believing a judgement."""

from collections.abc import Sequence

from tuneloop.evaluate.judge.config import JudgeConfig
from tuneloop.evaluate.judge.records import PairsResult

_MUCH_BIAS = 0.2
_MUCH_SILENCE = 0.05


def same_model(one: str, other: str) -> bool:
    """Whether two names look like one model: equal without owner, case and a suffix that begins with a digit.

    By hand: "openai/GPT-4o" and "gpt-4o-2024-08-06" are; "gpt-4o" and "gpt-4o-mini" are not.
    """
    first, second = sorted((one.casefold().rpartition("/")[2], other.casefold().rpartition("/")[2]), key=len)
    if not first:
        return False
    rest = second.removeprefix(first)
    return second.startswith(first) and (not rest or (rest[0] in "-@:" and rest[1:2].isdigit()) or rest == ":latest")


def warn_of_models(config: JudgeConfig, answered_as: Sequence[str]) -> list[str]:
    """A judge prefers its own answers, and those of models that learned from it (arXiv:2306.05685, section 3.3)."""
    names = dict.fromkeys((config.endpoint.model, *answered_as))
    others = {"answers A are by": config.model_a, "answers B are by": config.model_b}
    roles = [(role, name) for role, name in others.items() if name] + [
        ("they were trained on answers of", teacher) for teacher in config.teachers
    ]
    return [
        f"The judge ({judge}) judges its own: {role} {name}. Judges prefer what they wrote; choose another judge."
        for role, name in roles
        for judge in [next((judge for judge in names if same_model(judge, name)), None)]
        if judge is not None
    ]


def warn_of_pairs(result: PairsResult) -> list[str]:
    """Of a judge whose verdicts hang on the order."""
    if result.position_bias.value <= _MUCH_BIAS:
        return []
    text = (
        f"{100 * result.position_bias.value:.0f} % of the pairs flip with the order ({result.flips_to_first} to "
        f"whoever stands first, {result.flips_to_second} to whoever stands second): the place decides, not the answer. "
        f"They count as ties; a stronger judge would decide more."
    )
    return [text]


def warn_of_silence(judged: int, num_rows: int) -> list[str]:
    """Of rows that nobody judged: they may be the difficult ones."""
    if num_rows - judged <= _MUCH_SILENCE * num_rows:
        return []
    text = (
        f"{num_rows - judged} of {num_rows} rows have no verdict and count nowhere. They may differ from the others: "
        f"see the reasons, raise endpoint.parameters.max_tokens or choose another judge."
    )
    return [text]
