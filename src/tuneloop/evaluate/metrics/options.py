"""Settings of metrics that a name alone cannot hold: files, weights, limits."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tuneloop.core.config import Config


class MetricOptions(Config):
    """Each metric reads what concerns it, and nothing else."""

    code_language: str = "python"
    """codebleu: python, java, javascript, c, cpp, go, rust ..."""
    code_weights: tuple[float, float, float, float] = (0.25, 0.25, 0.25, 0.25)
    """codebleu: n-grams, weighted n-grams, syntax, data flow."""
    code_mode: Literal["strict", "compat"] = "strict"
    """codebleu: `compat` gives the published package's number, which rewards answers without any data flow."""
    json_schema: Path | None = None
    """json: a JSON schema that answers have to fit."""
    statutes: Path | None = None
    """citation: the statute book (JSONL, an article a row) that tells invented articles from real ones."""
    timeout_s: float = Field(default=3.0, gt=0, le=600)
    """pass@k: wall-clock time of one program."""
    memory_mib: int = Field(default=1024, ge=64)
    """pass@k: address space of one program."""
    workers: int = Field(default=2, ge=1, le=64)
    """pass@k: programs at the same time."""

    def inside(self, folder: Path) -> "MetricOptions":
        """The same; relative paths are counted from `folder`."""
        changes = {
            name: folder / path for name in ("json_schema", "statutes") if (path := getattr(self, name)) is not None
        }
        return self.replace(**changes)
