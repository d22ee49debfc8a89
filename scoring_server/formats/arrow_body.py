"""Arrow's IPC streams: bodies, with a bound on what they decode to, and answers.

The format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format. A stream may
be compressed, and says itself how much there is of everything. What each of its messages says is
added up before it is decoded, and what pyarrow would believe (offsets, indices of dictionaries) is
validated before pandas follows it.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from ..errors import ScoringError, quote, reason
from ..signature.plain_rows import PlainRows
from ..signature.schema import DATETIME, DOUBLE, FLOAT, INTEGER, LONG, DataType
from ..signature.signature import Signature

ARROW_TYPE = "application/vnd.apache.arrow.stream"
MISSING_STATUS = 415
TOO_LARGE = 413
MAX_COLUMNS = 65536
# What a file of Arrow's begins with, which is no stream.
_FILE_MAGIC = b"ARROW1"

_ARROW_NAMES = {DOUBLE: "double", FLOAT: "float", LONG: "int64", INTEGER: "int32"}
# Slots of the tables `Message`, `RecordBatch` and `DictionaryBatch` in Arrow's Message.fbs.
_HEADER, _ROWS, _BUFFERS, _COMPRESSION, _DICTIONARY_DATA = 2, 0, 2, 3, 1
_BUFFER = struct.Struct("<qq")  # where it begins in the message's body, and its bytes
_LENGTH = struct.Struct("<q")  # in front of a compressed buffer: what it decodes to; -1: as it is


def read_arrow(body: bytes, max_decoded: int, signature: Signature) -> Tuple[Any, bool]:
    """Read an IPC stream.

    Dictionaries become the values that they stand for where the signature has a column of values,
    which knows no categories; else pandas' categories.

    :param max_decoded: most bytes that it may decode to.
    :returns: the data, and whether it is what the signature wants.
    :raises ScoringError: it is no such stream, decodes to more, or pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise ScoringError(
            "Arrow needs the package pyarrow in the model's environment.", status=MISSING_STATUS
        ) from error
    if body.startswith(_FILE_MAGIC):
        raise ScoringError("The data is a file of Arrow's: send it as an IPC stream.")
    try:
        _check_messages(pyarrow, body, max_decoded)
        table = _read_table(pyarrow, body, max_decoded)
        numbers = _numbers(table, signature)
        if numbers is not None:
            return numbers, True
        frame = _with_nanoseconds(pyarrow, table, signature).to_pandas()
        has_categories = any(pyarrow.types.is_dictionary(field.type) for field in table.schema)
        return _without_categories(frame, signature) if has_categories else frame, False
    except (ScoringError, MemoryError):
        raise
    except Exception as error:
        message = "The data is not a readable stream of Arrow's: {}."
        raise ScoringError(message.format(reason(error))) from error


def write_arrow(frame: pd.DataFrame) -> bytes:
    """A table as an IPC stream.

    :raises ScoringError: Arrow has no types for it.
    """
    import pyarrow
    import pyarrow.ipc

    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise ScoringError("Arrow cannot hold it: {}.".format(reason(error))) from error
    target = io.BytesIO()
    with pyarrow.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


# --- what the messages say -----------------------------------------------------------------------


def _check_messages(pyarrow: Any, body: bytes, limit: int) -> None:
    """Refuse what would decode to more than the limit, before any of it is decoded."""
    reader = pyarrow.ipc.MessageReader.open_stream(body)
    decoded = 0
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in ("record batch", "dictionary"):
            continue
        batch = _FlatTable.root(memoryview(message.metadata)).table(_HEADER)
        if message.type == "dictionary":
            batch = batch.table(_DICTIONARY_DATA)
        # A value takes a byte at least, whatever its type says.
        rows = batch.number(_ROWS)
        decoded += max(rows, _decoded_size(batch, message.body))
        if rows < 0 or decoded > limit:
            raise _too_large(limit)


def _decoded_size(batch: _FlatTable, body: Any) -> int:
    if batch.find(_COMPRESSION) is None or body is None:
        return 0 if body is None else int(body.size)
    view, size = memoryview(body), 0
    for start, length in batch.structs(_BUFFERS, _BUFFER):
        if length:
            (decoded,) = _LENGTH.unpack_from(view, start)
            size += length if decoded == -1 else decoded
            if decoded < -1:
                raise ValueError("a buffer decodes to {} bytes".format(decoded))
    return size


class _FlatTable:
    """A table of FlatBuffers (https://flatbuffers.dev/internals/); all numbers little-endian.

    `struct.error` is raised for what lies outside of the data.
    """

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._fields = at - self._read("<i", at)
        if self._fields < 0:
            raise ValueError("a table begins before its message")

    @classmethod
    def root(cls, data: memoryview) -> _FlatTable:
        """The outermost table of a message's metadata."""
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def find(self, slot: int) -> Optional[int]:
        """Where a field is; None where it is left out."""
        place = 4 + 2 * slot
        if place >= self._read("<H", self._fields):
            return None
        offset = self._read("<H", self._fields + place)
        return self._at + offset if offset else None

    def number(self, slot: int) -> int:
        """A field of 64 bits, 0 where it is left out."""
        at = self.find(slot)
        return 0 if at is None else self._read("<q", at)

    def table(self, slot: int) -> _FlatTable:
        """The table that a field points to."""
        at = self.find(slot)
        if at is None:
            raise ValueError("a message has no header")
        return _FlatTable(self._data, at + self._read("<I", at))

    def structs(self, slot: int, form: struct.Struct) -> Iterator[Any]:
        """The members of a vector of structs."""
        at = self.find(slot)
        if at is None:
            return iter(())
        at += self._read("<I", at)
        end = at + 4 + form.size * self._read("<I", at)
        return form.iter_unpack(self._data[at + 4 : end])

    def _read(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self._data, at)[0])


# --- what pandas makes of it ---------------------------------------------------------------------


def _read_table(pyarrow: Any, body: bytes, limit: int) -> Any:
    with pyarrow.ipc.open_stream(body) as reader:
        schema = reader.schema
        _check_types(pyarrow, schema)
        is_plain = all(pyarrow.types.is_primitive(field.type) for field in schema)
        has_views = not is_plain and any("view" in str(field.type) for field in schema)
        batches: List[Any] = []
        decoded = 0
        for batch in reader:
            decoded += batch.num_rows * len(schema)
            # Of numbers there is nothing but their count to check.
            batch.validate(full=not is_plain)
            if has_views:
                decoded += sum(_shown(pyarrow, column) for column in batch.columns)
            if decoded > limit:
                raise _too_large(limit)
            batches.append(batch)
    return pyarrow.Table.from_batches(batches, schema)


def _check_types(pyarrow: Any, schema: Any) -> None:
    """Refuse types whose parts may overlap, so that little of a body stands for much."""
    if len(schema) > MAX_COLUMNS:
        raise ScoringError("The body has more than {} columns.".format(MAX_COLUMNS))
    kinds = pyarrow.types
    refused = [
        getattr(kinds, name, _never)
        for name in ("is_union", "is_run_end_encoded", "is_list_view", "is_large_list_view")
    ]
    for field in schema:
        if kinds.is_primitive(field.type):
            continue
        for leaf in _leaves(kinds, field.type):
            if any(is_refused(leaf) for is_refused in refused):
                raise ScoringError(
                    "Column {}: {} is not read here; send values of another type.".format(
                        quote(field.name), leaf
                    )
                )


def _leaves(kinds: Any, kind: Any) -> Iterator[Any]:
    """The types that a type has inside, those without further ones."""
    if hasattr(kind, "storage_type"):  # an extension type
        yield from _leaves(kinds, kind.storage_type)
    elif kinds.is_map(kind):
        yield from _leaves(kinds, kind.key_type)
        yield from _leaves(kinds, kind.item_type)
    elif kinds.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _leaves(kinds, kind[number].type)
    elif kinds.is_dictionary(kind) or _is_list(kinds, kind):
        yield from _leaves(kinds, kind.value_type)
    else:
        yield kind


def _is_list(kinds: Any, kind: Any) -> bool:
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _shown(pyarrow: Any, array: Any) -> int:
    """The bytes that the views in an array show, which may be the same ones again and again."""
    kinds, kind = pyarrow.types, array.type
    if hasattr(kind, "storage_type"):
        return _shown(pyarrow, array.storage)
    if kinds.is_map(kind):
        return _shown(pyarrow, array.keys) + _shown(pyarrow, array.items)
    if kinds.is_struct(kind):
        return sum(_shown(pyarrow, array.field(number)) for number in range(kind.num_fields))
    if kinds.is_dictionary(kind):
        return _shown(pyarrow, array.dictionary)
    if _is_list(kinds, kind):
        return _shown(pyarrow, array.values)
    is_view = getattr(kinds, "is_string_view", _never)(kind) or getattr(
        kinds, "is_binary_view", _never
    )(kind)
    views = array.buffers()[1] if is_view else None
    if views is None:
        return 0
    # A view is four numbers, of which the first is its length.
    return int(np.frombuffer(views, "<i4")[::4].sum(dtype=np.int64))


def _never(_kind: Any) -> bool:
    return False


def _numbers(table: Any, signature: Signature) -> Any:
    """The rows for a signature of numbers of one type; None where that is not what was sent.

    Names and types are what they should be then, and pandas has nothing to find out.
    """
    schema, plain = signature.schema, signature.plain_rows
    if schema is None or not isinstance(plain, PlainRows) or not table.num_rows:
        return None
    kinds = {getattr(spec, "type", None) for spec in schema.inputs}
    kind: Any = kinds.pop()
    names = table.column_names
    if kinds or kind not in _ARROW_NAMES or sorted(names) != sorted(schema.names):
        return None
    columns = [table.column(name) for name in schema.names]
    if any(str(each.type) != _ARROW_NAMES[kind] or each.null_count for each in columns):
        return None
    if not _has_plain_index(table):
        return None
    # Column after column in memory, as pandas lays them out.
    block = np.empty((table.num_rows, len(columns)), kind.numpy, order="F")
    for place, column in enumerate(columns):
        start = 0
        for chunk in column.chunks:
            block[start : start + len(chunk), place] = chunk.to_numpy()
            start += len(chunk)
    return plain.of_array(block)


def _with_nanoseconds(pyarrow: Any, table: Any, signature: Signature) -> Any:
    """The table with its times in the signature's unit: Arrow casts them faster than pandas."""
    schema = signature.schema
    if schema is None or not schema.is_named:
        return table
    for place, field in enumerate(table.schema):
        is_time = getattr(schema.by_name.get(field.name), "type", None) is DATETIME
        if is_time and str(field.type) in ("timestamp[s]", "timestamp[ms]", "timestamp[us]"):
            try:
                cast = table.column(place).cast(pyarrow.timestamp("ns"))
            except pyarrow.ArrowInvalid:
                continue  # Beyond the years that nanoseconds reach: the signature says where.
            table = table.set_column(place, field.name, cast)
    return table


def _has_plain_index(table: Any) -> bool:
    """Whether pandas has noted an index of row numbers, or none, and names that are texts."""
    noted = (table.schema.metadata or {}).get(b"pandas")
    if noted is None:
        return True
    document = json.loads(noted)
    plain = {"kind": "range", "name": None, "start": 0, "stop": table.num_rows, "step": 1}
    if document["index_columns"] not in ([], [plain]):
        return False
    return all(each["pandas_type"] == "unicode" for each in document["column_indexes"])


def _without_categories(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    schema = signature.schema
    if schema is None or schema.is_tensor:
        return frame
    kinds: Sequence[Any] = frame.dtypes.tolist()
    if not any(isinstance(kind, pd.CategoricalDtype) for kind in kinds):
        return frame
    specs: Any = schema.by_name if schema.is_named else dict(enumerate(schema.inputs))
    names = frame.columns if schema.is_named else range(len(kinds))
    plain = [
        np.asarray(frame.iloc[:, place])
        if isinstance(kind, pd.CategoricalDtype)
        and isinstance(getattr(specs.get(name), "type", None), DataType)
        else frame.iloc[:, place]
        for place, (name, kind) in enumerate(zip(names, kinds))
    ]
    made = pd.DataFrame(dict(enumerate(plain)), index=frame.index, copy=False)
    made.columns = frame.columns
    return made


def _too_large(limit: int) -> ScoringError:
    return ScoringError(
        "The stream of Arrow's decodes to more than {} bytes.".format(limit), status=TOO_LARGE
    )
