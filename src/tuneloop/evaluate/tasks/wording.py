"""Templates and expressions of a task: Jinja that sees the columns of one row, and can neither act nor look around."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.environment import TemplateExpression
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuneloop.data.schema import RowError


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False)


@lru_cache(maxsize=256)
def _template(text: str) -> Template:
    return _environment().from_string(text)


@lru_cache(maxsize=256)
def _expression(text: str) -> TemplateExpression:
    return _environment().compile_expression(text, undefined_to_none=False)


def check_template(text: str) -> None:
    """Refuse what Jinja cannot read.

    Raises:
        ValueError: where, and what.
    """
    try:
        _template(text)
    except TemplateError as error:
        raise ValueError(f"not a Jinja template: {error}") from error


def check_expression(text: str) -> None:
    """Refuse what Jinja cannot read as one expression.

    Raises:
        ValueError: where, and what.
    """
    try:
        _expression(text)
    except TemplateError as error:
        raise ValueError(f"not a Jinja expression: {error}") from error


def render(text: str, columns: Mapping[str, Any]) -> str:
    """A template over the columns of a row, without white space at its ends.

    Raises:
        RowError: the row has no such column, or the template fails on its values.
    """
    try:
        return _template(text).render(columns).strip()
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, OverflowError) as error:
        raise RowError("template_fails", f"the template fails on this row: {error}") from error


def compute(text: str, columns: Mapping[str, Any]) -> Any:
    """An expression over the columns of a row: a text, number, list ... as the row holds it.

    Raises:
        RowError: the row has no such column, or the expression fails on its values.
    """
    try:
        value = _expression(text)(columns)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, OverflowError) as error:
        raise RowError("template_fails", f"'{text}' fails on this row: {error}") from error
    if isinstance(value, StrictUndefined):
        raise RowError("missing_column", f"'{text}' names nothing in this row. Its columns: {', '.join(columns)}.")
    return value
