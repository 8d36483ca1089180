"""Names of models and of data to what a recipe calls them, relative to where the recipe lies."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LOOKED_ABOVE = 4
_DATA_SUFFIXES = {".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst"}


@dataclass(frozen=True)
class Places:
    """Where to look for files, and where the recipe will lie."""

    config: Path
    recipe_folder: Path
    """Paths of the recipe are relative to it."""
    data_folder: Path | None = None
    """The user's word on where the tool's data folder is."""

    def bases(self) -> Iterator[Path]:
        """Folders that may hold the tool's data folder: where the tool is started, then the config's and some above."""
        yield Path.cwd()
        yield from list(self.config.resolve().parents)[:_LOOKED_ABOVE]

    def find(self, name: str) -> Path | None:
        """An existing file or folder of that name."""
        for base in (Path.cwd(), self.config.resolve().parent):
            found = base / Path(name).expanduser()
            if found.exists():
                return found
        return None

    def relative(self, path: Path) -> str:
        """A path as the recipe writes it."""
        return os.path.relpath(path.expanduser().absolute(), self.recipe_folder.absolute())

    def model(self, name: str, hub: str = "hf") -> str:
        """`hf:ORG/NAME`, or a folder."""
        local = self._local(name)
        return local if local is not None else f"{hub}:{name}"

    def data(self, name: str) -> str:
        """`hf:ORG/NAME`, or a file or folder."""
        local = self._local(name)
        return local if local is not None else f"hf:{name}"

    def _local(self, name: str) -> str | None:
        found = self.find(name)
        if found is not None:
            return self.relative(found)
        path = Path(name)
        if name.startswith((".", "/", "~")) or path.suffix.lower() in _DATA_SUFFIXES or not _HUB.fullmatch(name):
            return self.relative(path if path.is_absolute() else Path.cwd() / path.expanduser())
        return None
