"""Judges of known character behind a real server, and rows for them."""

import re
from collections.abc import Callable
from pathlib import Path

from endpoint_kit import Body, FakeEndpoint, question
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.judge.config import JudgeConfig
from tuneloop.evaluate.judge.records import JudgeRecord, PairVerdict
from tuneloop.evaluate.judge.rows import Pair
from tuneloop.evaluate.judge.run import VERDICTS, judge_pairs

Judge = Callable[[Body], str]


def shown(body: Body, name: str) -> str:
    """What the judge was shown as request, answer-A ..., in either language."""
    found = re.search(rf"<{name}-(\w+)>\n(.*?)\n</{name}-\1>", question(body), re.DOTALL)
    assert found is not None, f"no {name} in {question(body)}"
    return found[2]


def both(body: Body) -> tuple[str, str]:
    """The answer that stands first, and the second."""
    names = ("answer-A", "answer-B") if "<request-" in question(body) else ("回答A", "回答B")
    return shown(body, names[0]), shown(body, names[1])


def by_points(points: Callable[[str], float]) -> Judge:
    """A judge without bias: whoever has more points is better."""

    def judge(body: Body) -> str:
        first, second = map(points, both(body))
        letter = "C" if first == second else "A" if first > second else "B"
        return f"[[A]] or [[B]]? On reflection:\n[[{letter}]]"

    return judge


def pair(number: int, answer_a: str, answer_b: str, reference: str = "") -> Pair:
    return Pair(f"p{number}", f"Question {number}?", answer_a, answer_b, reference)


def config_of(fake: FakeEndpoint, **changes: object) -> JudgeConfig:
    endpoint = {"base_url": fake.url, "model": "judge-1", "concurrency": 4, "timeout_s": 5}
    endpoint |= {"retry": {"max_retries": 1, "base_s": 0.001}}
    endpoint |= changes.pop("endpoint", {})  # type: ignore[operator]
    return JudgeConfig.model_validate({"endpoint": endpoint, "resamples": 200} | changes)


def judge(fake: FakeEndpoint, pairs: list[Pair], folder: Path, **changes: object) -> JudgeRecord:
    return judge_pairs(config_of(fake, **changes), pairs, folder, key=None, hooks=Hooks())


def verdicts(folder: Path) -> list[PairVerdict]:
    return [PairVerdict.model_validate_json(line) for line in (folder / VERDICTS).read_text().split("\n")[:-1]]
