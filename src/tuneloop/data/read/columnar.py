"""Parquet and Arrow: rows by their number from 1, a few at a time, as Python objects."""

import contextlib
import datetime as dt
import decimal
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuneloop.core.errors import DataError
from tuneloop.data.read.chunks import open_file
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.found import Found, Limits
from tuneloop.data.schema import Origin, Problem, RowError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 128


def read_parquet(file: SourceFile, limits: Limits) -> Iterator[Found | Problem]:
    """The rows of a Parquet file.

    Raises:
        DataError: it cannot be opened, or two columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    open_file(file).close()
    with contextlib.ExitStack() as stack:
        try:
            table = stack.enter_context(pq.ParquetFile(file.path, memory_map=True, pre_buffer=False))
            _check_columns(table.schema_arrow, file.name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{file.name}: is not a whole Parquet file: {_first_line(error)}") from error
        row = 1
        # Each group stands alone: behind a damaged one the next can be read.
        for group in range(table.num_row_groups):
            end = row + table.metadata.row_group(group).num_rows
            batches = table.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], use_threads=False)
            yield from _read_batches(batches, range(row, end), file.name, limits)
            row = end


def read_arrow(file: SourceFile, limits: Limits) -> Iterator[Found | Problem]:
    """The rows of an Arrow file (which Feather 2 is) or Arrow stream.

    Raises:
        DataError: as `read_parquet`.
    """
    import pyarrow as pa

    open_file(file).close()
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(pa.memory_map(str(file.path)))
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            table = stack.enter_context(opened)
            _check_columns(table.schema, file.name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{file.name}: is not a whole Arrow file: {_first_line(error)}") from error
        if isinstance(table, pa.RecordBatchFileReader):
            batches = (table.get_batch(number) for number in range(table.num_record_batches))
        else:
            batches = iter(table)
        yield from _read_batches(batches, None, file.name, limits)


def _check_columns(schema: "pa.Schema", name: str) -> None:
    twice = [column for column, times in Counter(schema.names).items() if times > 1]
    if twice:
        raise DataError(f"{name}: two columns are called {twice[0]!r}. Give each a name of its own.")
    if not schema.names:
        raise DataError(f"{name}: has no columns.")


def _read_batches(
    batches: Iterator["pa.RecordBatch"], numbers: range | None, name: str, limits: Limits
) -> Iterator[Found | Problem]:
    """The rows of batches in a row; `numbers` are those that should be there, where that is known."""
    import pyarrow as pa

    row = numbers.start if numbers else 1
    end = numbers.stop if numbers else None
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            lost = "all rows from here on" if end is None else f"the rows from here to {end - 1}"
            yield Problem(Origin(name, row), "damaged", f"{lost} are lost: the file is damaged: {_first_line(error)}")
            return
        if batch is None:
            break
        try:
            _check_memory(batch)
        except pa.ArrowException as error:
            reason = f"the rows from here to {row + batch.num_rows - 1} are lost: damaged: {_first_line(error)}"
            yield Problem(Origin(name, row), "damaged", reason)
            row += batch.num_rows
            continue
        for begin in range(0, batch.num_rows, _BATCH_ROWS):
            yield from _read_rows(batch.slice(begin, _BATCH_ROWS), row + begin, name, limits)
        row += batch.num_rows
    if end is not None and row < end:
        yield Problem(Origin(name, row), "truncated", f"the rows from here to {end - 1} are not in the file")


def _check_memory(batch: "pa.RecordBatch") -> None:
    """Refuse offsets that point outside: they come from the file as they are, and would be followed.

    Raises:
        ArrowException: there is one.
    """
    import pyarrow as pa

    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        # Letters are checked together with offsets, and may hide them; a wrong letter costs its own row alone.
        for column in batch.columns:
            column.view(_as_bytes(column.type)).validate(full=True)


def _as_bytes(kind: "pa.DataType") -> "pa.DataType":
    """The type with the same memory whose texts are bytes."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_bytes(kind.value_type)))
    return kind


def _read_rows(rows: "pa.RecordBatch", first: int, name: str, limits: Limits) -> Iterator[Found | Problem]:
    """A few rows at once; one by one where one of them is bad."""
    try:
        values = _to_python(rows, limits)
    except RowError as error:
        if rows.num_rows == 1:
            yield Problem(Origin(name, first), error.code, error.reason)
            return
        for number in range(rows.num_rows):
            yield from _read_rows(rows.slice(number, 1), first + number, name, limits)
        return
    for number, value in enumerate(values, first):
        try:
            yield Found(number, to_json_like(value))
        except RowError as error:
            yield Problem(Origin(name, number), error.code, error.reason)


def _to_python(rows: "pa.RecordBatch", limits: Limits) -> list[dict[str, Any]]:
    import pyarrow as pa

    if rows.nbytes > limits.max_line_bytes:
        raise RowError("line_too_long", f"the row has more than {limits.max_line_bytes} bytes")
    try:
        return rows.to_pylist(maps_as_pydicts="strict")
    except (pa.ArrowException, ValueError, KeyError, OverflowError, TypeError) as error:
        code = "not_utf8" if isinstance(error, UnicodeDecodeError) else "damaged"
        raise RowError(code, f"the row cannot be read: {_first_line(error)}") from error


def to_json_like(value: Any) -> Any:
    """A value of Arrow as JSON would hold it: times in ISO 8601, decimals and UUIDs as text, NaN as it is.

    Raises:
        RowError: it holds bytes, or an object that is no data.
    """
    kind = type(value)
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): to_json_like(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [to_json_like(item) for item in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID | dt.timedelta):
        return str(value)
    what = "bytes" if isinstance(value, bytes | bytearray) else f"an object of type {kind.__name__}"
    raise RowError("not_text", f"a cell holds {what}, not text or numbers: leave that column out")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
