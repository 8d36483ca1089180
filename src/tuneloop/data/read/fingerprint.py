"""The hash that names a file's bytes in every record."""

from tuneloop.core.errors import DataError
from tuneloop.core.store import hash_file
from tuneloop.data.read.files import SourceFile


def hash_source(file: SourceFile) -> str:
    """SHA-256 of the file as it lies on disk, in hexadecimal.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return hash_file(file.path)
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read: {error.strerror or error}.") from error
