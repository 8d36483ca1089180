"""The bytes of a file, unpacked, in chunks of bounded size; damage comes after the bytes that stand before it."""

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from tuneloop.core.errors import DataError
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.found import Limits
from tuneloop.data.schema import RowError

CHUNK_BYTES = 1 << 20
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MAX_WINDOW_BYTES = 128 << 20
"""What `zstd -d` accepts without --long (zstd.1)."""
_ZSTD_INPUT_BYTES = 1 << 10
"""One step of zstd cannot be told how much to give; a block of 4 bytes may give 128 KiB (RFC 8878, 3.1.1.2), so
a step of this size holds at most 32 MiB."""


def open_file(file: SourceFile) -> IO[bytes]:
    """Open a regular file.

    Raises:
        DataError: it is not there, not a file, or may not be read.
    """
    try:
        # Without this flag the opening of a pipe waits for somebody to write into it.
        handle = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        what = "Is a directory" if stat.S_ISDIR(mode) else "Is not a regular file (a pipe, a socket or a device)"
        raise DataError(f"{file.name}: cannot be read: {what}.")
    return os.fdopen(handle, "rb", buffering=0)


def _unreadable(file: SourceFile, error: OSError | ValueError) -> DataError:
    return DataError(f"{file.name}: cannot be read: {getattr(error, 'strerror', None) or error}.")


def read_head(file: SourceFile, size: int = 16) -> bytes:
    """The first bytes as they lie on disk.

    Raises:
        DataError: as `open_file`, or the disk refuses.
    """
    with open_file(file) as handle:
        try:
            return handle.read(size)
        except OSError as error:
            raise _unreadable(file, error) from error


def read_chunks(file: SourceFile, limits: Limits) -> Iterator[bytes]:
    """The content, unpacked where it is gzip or zstd by its first bytes.

    Raises:
        DataError: as `read_head`.
        RowError: after all bytes that could be had: the rest is cut off, damaged, or suspiciously large.
    """
    head = read_head(file)
    with open_file(file) as handle:
        if head.startswith(GZIP):
            yield from _bounded(_unpack(_read(handle, CHUNK_BYTES), _Gzip), handle, limits)
        elif head.startswith(ZSTD):
            yield from _bounded(_unpack(_read(handle, _ZSTD_INPUT_BYTES), _Zstd), handle, limits)
        else:
            yield from _read(handle, CHUNK_BYTES)


def _read(handle: IO[bytes], size: int) -> Iterator[bytes]:
    try:
        while chunk := handle.read(size):
            yield chunk
    except OSError as error:
        raise RowError("unreadable", f"the disk refuses to read on: {error.strerror or error}") from error


class _Gzip:
    """One member of a gzip file, unpacked in bounded steps."""

    name = "gzip"

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Everything that `packed` unpacks to."""
        while True:
            before = self._member.copy()
            try:
                chunk = self._member.decompress(packed, CHUNK_BYTES)
            except zlib.error:
                yield from _until_damage(before, packed)
                return
            if not chunk:
                return
            yield chunk
            packed = self._member.unconsumed_tail

    def rest(self) -> bytes | None:
        """What follows the member's end; None while it is not reached."""
        return self._member.unused_data if self._member.eof else None


def _until_damage(member: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """What stands before the damage: the call that meets it gives nothing, so byte by byte."""
    try:
        for at in range(len(packed)):
            yield member.decompress(packed[at : at + 1])
    except zlib.error as error:
        raise RowError("damaged", f"the gzip file is damaged: {error}") from error


class _Zstd:
    """One frame of a zstd file, unpacked in bounded steps."""

    name = "zstd"

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj()

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Everything that `packed` unpacks to."""
        try:
            yield self._frame.decompress(packed)
        except self._error as error:
            raise RowError("damaged", f"the zstd file is damaged: {error}") from error

    def rest(self) -> bytes | None:
        """What follows the frame's end; None while it is not reached."""
        return self._frame.unused_data if self._frame.eof else None


def _unpack(packed_chunks: Iterator[bytes], begin: Callable[[], _Gzip | _Zstd]) -> Iterator[bytes]:
    """Unpack members one after another, as `cat a.gz b.gz` makes them."""
    member: _Gzip | _Zstd | None = None
    for chunk in packed_chunks:
        packed = chunk
        while packed:
            if member is None:
                # Tapes and some tools fill the end with zeros (gzip's manual, "trailing zeros").
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                member = begin()
            for unpacked in member.feed(packed):
                if unpacked:
                    yield unpacked
            rest = member.rest()
            packed = rest or b""
            if rest is not None:
                member = None
    if member is not None:
        raise RowError("truncated", f"the {member.name} file is cut off here: fetch it again")


def _bounded(chunks: Iterator[bytes], handle: IO[bytes], limits: Limits) -> Iterator[bytes]:
    num_bytes = 0
    for chunk in chunks:
        num_bytes += len(chunk)
        if num_bytes > limits.free_expansion_bytes and num_bytes > limits.max_expansion * handle.tell():
            raise RowError(
                "too_expanded",
                f"the file unpacks to more than {limits.max_expansion:g} times its size: the rest is not read",
            )
        yield chunk
