"""A teacher in a folder, through our own engine; what it wrote is in a log, as an endpoint's answers are."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tuneloop.augment.teacher import Assignment
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import hash_json
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import RowError
from tuneloop.generate.budget import Spending
from tuneloop.generate.call_log import CallLog, read_calls
from tuneloop.generate.chat import CallFailure, Completion, Usage
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.endpoint import CallPlan
from tuneloop.generate.engine import Engine, Generated
from tuneloop.model.backbone import CausalModel

_GROUP = 256
"""Texts that are asked for at once: results are handed on after each group."""


class LocalTeacher:
    """A loaded model and the log of what it wrote."""

    def __init__(  # noqa: PLR0913 - all of them decide what it writes
        self,
        model: CausalModel,
        renderer: Renderer,
        config: GenerateConfig,
        log: Path,
        *,
        name: str,
        sha256: str,
        seed: int = 0,
    ) -> None:
        self.name = name
        self._model, self._renderer, self._config, self._seed = model, renderer, config, seed
        self._identity = {"weights": sha256, "contract": renderer.contract.hash, "config": config.model_dump()}
        self._path, self._log = log, CallLog(log)

    @property
    def spent(self) -> Spending:
        """By all runs over the log; money is never among it."""
        return self._log.spent

    def plan(self, assignments: Sequence[Assignment]) -> CallPlan:
        """Counted with the model's own tokenizer; output tokens are the most that they can be."""
        places = read_calls(self._path).places
        distinct = {self._key(assignment): assignment for assignment in assignments}
        missing = [assignment for key, assignment in distinct.items() if key not in places]
        return CallPlan(
            requests=len(assignments),
            calls=len(distinct),
            in_log=len(distinct) - len(missing),
            input_tokens=sum(len(self._renderer.encode_prompt(each.messages)) for each in missing),
            output_tokens=len(missing) * self._config.max_new_tokens,
            cost=0.0,
            spent=self._log.spent,
        )

    def write(
        self, assignments: Sequence[Assignment], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        """Those of the log first, then group by group; a kill loses only what the model was writing."""
        places: dict[str, list[int]] = {}
        for place, assignment in enumerate(assignments):
            places.setdefault(self._key(assignment), []).append(place)
        for key, indices in places.items():
            if (known := self._log.get(key)) is not None:
                yield from ((index, known) for index in indices)
        missing = [key for key in places if key not in self._log]
        for begin in range(0, len(missing), _GROUP):
            for key, result in self._generate(missing[begin : begin + _GROUP], places, assignments, hooks):
                yield from ((index, result) for index in places[key])

    def _generate(
        self, keys: Sequence[str], places: dict[str, list[int]], assignments: Sequence[Assignment], hooks: Hooks
    ) -> list[tuple[str, Completion | CallFailure]]:
        results: list[tuple[str, Completion | CallFailure]] = []
        asked, prompts = [], []
        for key in keys:
            try:
                prompts.append(self._renderer.encode_prompt(assignments[places[key][0]].messages))
            except RowError as error:
                results.append((key, CallFailure(key, "rejected", error.reason, attempts=1)))
            else:
                asked.append(key)
        begun = time.monotonic()

        def keep(number: int, generated: Generated) -> None:
            completion = Completion(
                key=asked[number],
                text=self._renderer.decode(generated.ids),
                finish_reason="stop" if generated.finished else "length",
                usage=Usage(len(prompts[number]), len(generated.ids)),
                cost=0.0,
                model=self.name,
                latency_s=time.monotonic() - begun,
                attempts=1,
            )
            self._log.add(completion)
            results.append((asked[number], completion))

        engine = Engine(self._model, self._renderer.contract.stop_ids, self._config)
        # The key names the chance of a text: the same one after a stop, in whatever company.
        engine.generate(prompts, seed=self._seed, hooks=hooks, keys=asked, on_answer=keep)
        return results

    def _key(self, assignment: Assignment) -> str:
        turns = [[message.role, message.content] for message in assignment.messages]
        return hash_json({"model": self._identity, "turns": turns, "sample": assignment.sample, "seed": self._seed})

    def close(self) -> None:
        """Close the log."""
        self._log.close()
