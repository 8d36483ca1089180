"""The path of a recipe to the files that it means: one file, a folder, or a pattern."""

import difflib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuneloop.core.errors import DataError

TEXT_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
PACKED_ENDINGS = (".gz", ".zst")
COLUMNAR_ENDINGS = (".parquet", ".arrow", ".feather")
_KNOWN = (*TEXT_ENDINGS, *COLUMNAR_ENDINGS, *(text + packed for text in TEXT_ENDINGS for packed in PACKED_ENDINGS))
_NOT_ROWS = frozenset(
    {"readme.txt", "license.txt", "notice.txt", "citation.txt", "changelog.txt", "requirements.txt", "source.txt"}
    | {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "croissant.json"}
)
"""Files that stand beside the rows: of the project, and of the library `datasets`."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, and how the user calls it."""

    path: Path
    name: str


def find_files(spec_path: str, folder: Path) -> list[SourceFile]:
    """The files that a path of the recipe means, sorted by name.

    A folder gives the files of known kinds below it, without hidden ones and those that only describe the rows.
    A pattern (`*`, `?`, `[...]`, `**`) gives those that match it; unknown kinds only where nothing else matches.

    Raises:
        DataError: there is nothing, or nothing that may be read.
    """
    path = folder / Path(spec_path).expanduser()
    name = str(Path(spec_path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _expand(spec_path, folder) if set(spec_path) & set("*?[") else _refuse(spec_path, path, "no such file")
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if stat.S_ISREG(mode):
        return [SourceFile(path, name)]
    if not stat.S_ISDIR(mode):
        raise DataError(f"{name}: is a pipe, a socket or a device, not a file. Save its rows to a file first.")
    files = [SourceFile(path / below, str(Path(spec_path) / below)) for below in _walk(path, name)]
    if not files:
        raise DataError(f"{name}: the folder holds no file of a known kind ({', '.join(_KNOWN[:9])}).")
    return sorted(files, key=lambda file: file.name)


def _walk(top: Path, name: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{name}: a folder in it cannot be read: {error.filename}: {error.strerror}.") from error

    # A link may lead to a folder above: each folder is entered once.
    seen = set()
    for place, folders, files in os.walk(top, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for file in files:
            if _has_rows(file) and (Path(place) / file).is_file():
                yield (Path(place) / file).relative_to(top)


def _has_rows(name: str) -> bool:
    lowered = name.lower()
    return not name.startswith(".") and lowered.endswith(_KNOWN) and lowered not in _NOT_ROWS


def _expand(pattern: str, folder: Path) -> list[SourceFile]:
    parts = Path(pattern).expanduser().parts
    top = Path(parts[0]) if parts[0].startswith("/") else folder
    below = parts[1:] if parts[0].startswith("/") else parts
    fixed = list(below[: next(number for number, part in enumerate(below) if set(part) & set("*?["))])
    root = top.joinpath(*fixed)
    try:
        # A pattern reaches hidden files only where it begins with a dot itself.
        shows_hidden = any(part.startswith(".") for part in below[len(fixed) :])
        hits = [
            path
            for path in root.glob("/".join(below[len(fixed) :]))
            if path.is_file()
            and (shows_hidden or not any(part.startswith(".") for part in path.relative_to(root).parts))
        ]
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{pattern}: is not a pattern that can be read: {error}.") from error
    hits = [path for path in hits if _has_rows(path.name)] or hits
    if not hits:
        return _refuse(pattern, root / below[-1], "nothing matches this pattern")
    prefix = Path(pattern).parts[: len(parts) - len(below) + len(fixed)]
    return sorted(
        {SourceFile(path, str(Path(*prefix, path.relative_to(root)))) for path in hits}, key=lambda file: file.name
    )


def _refuse(spec_path: str, path: Path, what: str) -> list[SourceFile]:
    """Say what is missing, and what stands where it was looked for."""
    place = path.parent
    while not place.is_dir():
        path, place = place, place.parent
    try:
        there = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))
    except OSError:
        there = []
    near = difflib.get_close_matches(path.name, there, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")  # noqa: PLR2004  as many as fit a line
    raise DataError(f"{spec_path}: {what} in {place}.{hint or (f' It holds: {shown}.' if there else ' It is empty.')}")
