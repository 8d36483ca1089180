"""Packages that only some commands need, imported where used, with one helpful message."""

import importlib
from types import ModuleType

from tuneloop.core.errors import MissingError


def load_optional(module: str, *, purpose: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MissingError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(f"{purpose} needs {module.partition('.')[0]}: pip install 'tuneloop[{extra}]'") from error
