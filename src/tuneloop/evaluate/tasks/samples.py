"""The outputs of a task, kept as they come: an evaluation that was killed goes on without one lost or asked twice."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError, IntegrityError
from tuneloop.core.store import Appender, read_jsonl


class Output(Config):
    """What a model wrote for one question."""

    question: int
    """Its place among the questions, from 0."""
    sample: int = 0
    """Which of several outputs for the same question."""
    text: str
    prompt_tokens: int
    output_tokens: int
    finished: bool
    """Whether the model closed its turn by itself, within the limit."""


class OutputLog:
    """A JSONL file whose first line says what it belongs to; each further line is one output."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.outputs: dict[tuple[int, int], Output] = {}
        self._file = Appender(path)
        try:
            self._read(identity)
        except BaseException:
            self._file.close()
            raise

    def _read(self, identity: Mapping[str, Any]) -> None:
        lines = read_jsonl(self.path)
        header = next(lines, None)
        if header is None:
            self._file.append({"identity": dict(identity)})
            return
        before = header.get("identity") if isinstance(header, dict) else None
        if not isinstance(before, dict):
            raise IntegrityError(f"{self.path}: not a file of outputs. Choose another --out.")
        changed = [
            f"{name}: was {before.get(name)!r}, is {identity.get(name)!r}"
            for name in sorted({*before, *identity})
            if before.get(name) != identity.get(name)
        ]
        if changed:
            listing = "\n  ".join(changed)
            raise ConfigError(
                f"{self.path.parent} holds another evaluation:\n  {listing}\nChoose another --out, or undo the change."
            )
        for number, line in enumerate(lines, start=2):
            try:
                output = Output.model_validate(line)
            except ValidationError as error:
                raise IntegrityError(
                    f"{self.path}:{number}: damaged. Delete the line; it is then asked again."
                ) from error
            self.outputs[output.question, output.sample] = output

    def add(self, output: Output) -> None:
        """Keep one output; it is on its way to the disk when this returns."""
        key = (output.question, output.sample)
        assert key not in self.outputs, "an output is asked for once"
        self._file.append(output.model_dump(mode="json"))
        self.outputs[key] = output

    def by_question(self, num_questions: int) -> list[list[Output]]:
        """The outputs for each question, by their sample number."""
        groups: list[list[Output]] = [[] for _ in range(num_questions)]
        for (question, _), output in sorted(self.outputs.items()):
            groups[question].append(output)
        return groups

    def close(self) -> None:
        """Sync to the disk."""
        self._file.close()


@contextmanager
def open_outputs(path: Path, identity: Mapping[str, Any]) -> Iterator[OutputLog]:
    """The log of an evaluation with this identity, begun or gone on with.

    Raises:
        ConfigError: the file belongs to another evaluation; the difference is named.
        IntegrityError: it is no such file, or damaged.
    """
    log = OutputLog(path, identity)
    try:
        yield log
    finally:
        log.close()
