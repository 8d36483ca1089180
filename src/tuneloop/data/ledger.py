"""Counts rows so that read = kept + each named reason, always."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tuneloop.core.errors import DataError
from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Problem, Row


@dataclass
class Ledger:
    """What was read, file by file, and every row that was left out."""

    strict: bool = False
    problems: list[Problem] = field(default_factory=list)
    _read: Counter[str] = field(default_factory=Counter)
    _formats: dict[str, tuple[str, str]] = field(default_factory=dict)

    def open_file(self, name: str, *, sha256: str, format_name: str) -> None:
        """Begin a file."""
        self._formats[name] = (sha256, format_name)

    def count(self, name: str) -> None:
        """One more row was read from a file."""
        self._read[name] += 1

    def leave_out(self, problem: Problem) -> None:
        """Note a row that will not be used.

        Raises:
            DataError: `strict` is on.
        """
        if self.strict:
            raise DataError(f"{problem}. (data.strict is on; without it the row is left out and counted.)")
        self.problems.append(problem)

    def close(self, kept: Iterable[Row]) -> tuple[FileLedger, ...]:
        """The ledger of each file; checks that it adds up."""
        kept_by_file = Counter(row.origin.file for row in kept)
        files = []
        for name, (sha256, format_name) in self._formats.items():
            codes = Counter(problem.code for problem in self.problems if problem.origin.file == name)
            assert self._read[name] == kept_by_file[name] + codes.total(), f"the ledger of {name} does not add up"
            files.append(
                FileLedger(
                    path=name,
                    sha256=sha256,
                    format=format_name,
                    read=self._read[name],
                    kept=kept_by_file[name],
                    problems=dict(sorted(codes.items())),
                )
            )
        return tuple(files)
