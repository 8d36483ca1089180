"""What crosses a stage: versioned JSON with its own hash, its parents' hashes, plan, seed and versions."""

import importlib.metadata
import platform
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from tuneloop.core.config import Config
from tuneloop.core.errors import DataError, IntegrityError
from tuneloop.core.store import hash_json, read_json, write_json

_PACKAGES = ("tuneloop", "torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results; nothing is imported for it."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


class Record(Config):
    """Base of all records. `hash` covers every other field."""

    schema_version: ClassVar[int] = 1
    kind: str
    created_at: datetime
    parents: tuple[str, ...] = ()
    """Hashes of the records that this one was made from."""
    plan: dict[str, Any] = Field(default_factory=dict, repr=False)
    """The resolved recipe."""
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=package_versions, repr=False)

    def as_json(self) -> dict[str, Any]:
        """All fields, the schema version, and the hash of the rest."""
        values = self.model_dump(mode="json") | {"schema_version": self.schema_version}
        return values | {"hash": hash_json(values)}

    @property
    def hash(self) -> str:
        """SHA-256 over everything else in the record."""
        return self.as_json()["hash"]

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self.as_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record and check it against its hash.

        Raises:
            DataError: no such file, or a record of another version or kind.
            IntegrityError: it was changed after it was saved.
        """
        values = read_json(path)
        if not isinstance(values, dict):
            raise IntegrityError(f"{path}: not a record: a record is a JSON object.")
        saved_hash = values.pop("hash", None)
        if saved_hash != hash_json(values):
            raise IntegrityError(f"{path}: the record differs from its hash: it was changed after it was saved.")
        version = values.pop("schema_version", None)
        if version != cls.schema_version:
            raise DataError(
                f"{path}: written as version {version} of its format; this tuneloop reads {cls.schema_version}."
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise DataError(f"{path}: not a {cls.__name__}: {error.errors()[0]['msg']}.") from error
