"""A JSON schema as a test of values: checked when it is loaded, never fetched from a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuneloop.core.errors import ConfigError
from tuneloop.core.optional import load_optional
from tuneloop.evaluate.metrics.json_answer import parse_strict

_PURPOSE, _EXTRA = "a JSON schema", "json"


def load_schema(path: Path) -> dict[str, Any]:
    """Read a schema from a JSON file.

    Raises:
        ConfigError: the file cannot be read, or holds no JSON object.
    """
    try:
        schema = parse_strict(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name the JSON file of a schema.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid JSON ({error}). Write one JSON schema, in UTF-8.") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"{path}: is no JSON object. A schema is written as {{...}}.")
    return schema


def build_validator(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """A function that says whether a value fits the schema.

    The schema's `$schema` names its draft; 2020-12 where it names none. `format` is not looked at. A reference must
    lead to a place in the schema itself or to a published draft: nothing is fetched.

    Raises:
        ConfigError: it is no valid schema, or refers to itself without end. The function raises it where an answer
            meets a reference that leads nowhere.
        MissingError: the package jsonschema is not installed.
    """
    jsonschema = load_optional("jsonschema", purpose=_PURPOSE, extra=_EXTRA)
    referencing = load_optional("referencing", purpose=_PURPOSE, extra=_EXTRA)
    draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        draft.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise ConfigError(f"the JSON schema is not valid at {place}: {error.message[:200]}. Correct it.") from error
    # With a registry of its own, the library does not fetch what a reference names.
    published = load_optional("jsonschema_specifications", purpose=_PURPOSE, extra=_EXTRA).REGISTRY
    validator = draft(schema, registry=published)

    def check(value: Any) -> bool:
        try:
            return validator.is_valid(value)
        except referencing.exceptions.Unresolvable as error:
            raise ConfigError(
                f"the JSON schema refers to '{error.ref}', which is not in it. Write that part under its $defs."
            ) from error

    def fits(value: Any) -> bool:
        try:
            return check(value)
        except RecursionError:
            return False

    try:
        # A value without parts ends every schema that ends at all.
        check(None)
    except RecursionError as error:
        raise ConfigError("the JSON schema refers to itself without end. Remove the circle of its $ref.") from error
    return fits
