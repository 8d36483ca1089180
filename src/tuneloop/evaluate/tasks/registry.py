"""Tasks that come with tuneloop, by name, and tasks of one's own, by file."""

import difflib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tuneloop.core.config import load_source, parse_config, set_value
from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.tasks.config import TaskConfig

_READY = files("tuneloop.evaluate.tasks") / "ready"


def task_names() -> list[str]:
    """The ready tasks."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _READY.iterdir() if entry.name.endswith(".yaml"))


def load_task(name: str, overrides: Sequence[str] = ()) -> TaskConfig:
    """A ready task by its name, or any task by the path of its YAML file; `overrides` are `generate.temperature=0.8`.

    Raises:
        ConfigError: there is neither; or the file is no task: the line is named.
    """
    path = _find(name)
    source = load_source(path)
    for assignment in overrides:
        set_value(source, assignment)
    return parse_config(TaskConfig, source).inside(path.parent)


def read_task(name: str) -> str:
    """The text of a task's file, comments and all.

    Raises:
        ConfigError: there is no such task.
    """
    return _find(name).read_text(encoding="utf-8")


def _find(name: str) -> Path:
    if name in task_names():
        return Path(str(_READY / f"{name}.yaml"))
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return path
    near = difflib.get_close_matches(name, task_names(), n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"Ready tasks: {', '.join(task_names())}."
    raise ConfigError(f"there is no task '{name}'. {hint} Or name a YAML file of your own.")
