"""Batch input: CSV, Parquet and JSON lines in chunks of bounded size, other JSON as a whole."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Dict, Iterator, List, Optional

import pandas as pd

from ..errors import ScoringError, reason
from ..formats import json_body
from ..formats.csv_body import cast_csv, read_csv
from ..formats.parquet_body import read_parquet, unreadable
from ..formats.parsing import CSV, JSON, PARQUET, ModelInput, parse_json, parse_json_text
from ..signature.plain_rows import Table
from ..signature.signature import Signature
from .locating import first_refused_row, row_of_csv

JSON_LINES = "jsonl"
# The text of one chunk; in memory a chunk takes several times as much.
CHUNK_BYTES = 16 * 1024 * 1024
SAMPLE_BYTES = 256 * 1024


@dataclass
class Chunk:
    """Some rows of the input.

    :param bytes_read: of the whole input, up to now.
    :param first_row: counted from 1; None where the input is one document.
    """

    model_input: ModelInput
    rows: int
    bytes_read: int
    first_row: Optional[int] = None


class _CountingReader(io.RawIOBase):
    """A binary stream that knows how far it has been read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


def read_inputs(source: BinaryIO, format: str, signature: Signature) -> Iterator[Chunk]:
    """The chunks of an input.

    :param format: "csv", "json" (one document, or lines of which the first is a record), "jsonl"
        or "parquet".
    :raises ScoringError: the format is not known, or the input does not have it.
    """
    if format == CSV:
        return _read_csv(source, signature)
    if format == JSON:
        return _read_json(source, signature)
    if format == JSON_LINES:
        counter = _CountingReader(source)
        return _read_json_lines(counter, io.BufferedReader(counter, SAMPLE_BYTES), [], signature)
    if format == PARQUET:
        return _read_parquet(source)
    raise ScoringError("The input format {!r} is not known.".format(format))


def _read_csv(source: BinaryIO, signature: Signature) -> Iterator[Chunk]:
    counter = _CountingReader(source)
    buffered = io.BufferedReader(counter, SAMPLE_BYTES)
    sample = buffered.peek(SAMPLE_BYTES)
    lines = sample.count(b"\n") or 1
    rows = max(1, CHUNK_BYTES * lines // max(1, len(sample)))
    first_row = 1
    text = io.TextIOWrapper(buffered, encoding="utf-8", newline="")
    try:
        frames = read_csv(text, signature, chunksize=rows)
        for frame in frames:
            data = cast_csv(frame, signature)
            yield Chunk(ModelInput(data), len(frame), counter.count, first_row)
            first_row += len(frame)
    except (ScoringError, ValueError, TypeError) as error:
        row = _row_in_csv(source, signature, rows, first_row)
        which = "Row {} is".format(row) if row is not None else "Rows from {} are".format(first_row)
        message = "{} not CSV that fits the signature: {}."
        raise ScoringError(message.format(which, reason(error).rstrip("."))) from error


def _row_in_csv(
    source: BinaryIO, signature: Signature, chunk_rows: int, first_row: int
) -> Optional[int]:
    """Look once more into the chunk that begins with a row, for the one that does not fit.

    :returns: its number, from 1; None where it cannot be known.
    """
    if not source.seekable():
        return None
    source.seek(0)
    try:
        chunks = pd.read_csv(source, dtype=str, keep_default_na=False, chunksize=chunk_rows)
        texts = next(islice(chunks, (first_row - 1) // chunk_rows, None))
    except (ValueError, StopIteration):
        return None  # it is not even a table of texts
    row = row_of_csv(texts, signature)
    return None if row is None else first_row + row


def _read_json(source: BinaryIO, signature: Signature) -> Iterator[Chunk]:
    counter = _CountingReader(source)
    lines = io.BufferedReader(counter, SAMPLE_BYTES)
    first = lines.readline()
    second = lines.readline()
    if second.strip() and _is_record(first):
        return _read_json_lines(counter, lines, [first, second], signature)
    model_input = parse_json_text(first + second + lines.read(), signature)
    return iter([Chunk(model_input, _rows(model_input.data), counter.count)])


def _rows(data: Any) -> int:
    if isinstance(data, Table):
        return data.rows
    if isinstance(data, dict) and data:
        data = next(iter(data.values()))
    has_length = hasattr(data, "__len__") and getattr(data, "shape", None) != ()
    return len(data) if has_length and not isinstance(data, str) else 1


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read_json_lines(
    counter: _CountingReader, lines: Any, head: List[bytes], signature: Signature
) -> Iterator[Chunk]:
    first_row = 1
    head = head or lines.readlines(CHUNK_BYTES)
    while head:
        filled = [line for line in head if line.strip()]
        records = [_record(line, first_row + index) for index, line in enumerate(filled)]
        if records:
            yield Chunk(
                _parsed(records, first_row, signature), len(records), counter.count, first_row
            )
            first_row += len(records)
        head = lines.readlines(CHUNK_BYTES)


def _parsed(records: List[Dict[str, Any]], first_row: int, signature: Signature) -> ModelInput:
    def parse(start: int, stop: int) -> ModelInput:
        return parse_json({"dataframe_records": records[start:stop]}, signature)

    try:
        return parse(0, len(records))
    except ScoringError as error:
        row = first_refused_row(parse, len(records))
        if row is not None:
            error.message = "Row {}: {}".format(first_row + row, error.message)
        raise


def _record(line: bytes, row: int) -> Dict[str, Any]:
    try:
        record = json_body.loads(line)
    except ScoringError as error:
        error.message = error.message.replace("The body", "Row {}".format(row), 1)
        raise
    if not isinstance(record, dict):
        raise ScoringError("Row {} is not a JSON object.".format(row))
    return record


def _read_parquet(source: BinaryIO) -> Iterator[Chunk]:
    try:
        import pyarrow.parquet
    except ImportError:
        data = source.read()
        # A file that the user chose, not a stranger's request: no bound.
        frame = read_parquet(data, sys.maxsize)
        yield Chunk(ModelInput(frame), len(frame), len(data), 1)
        return
    with tempfile.TemporaryFile() as spooled:
        if not source.seekable():
            shutil.copyfileobj(source, spooled)
            spooled.seek(0)
            source = spooled
        try:
            file = pyarrow.parquet.ParquetFile(source)
        except (ValueError, OSError) as error:
            raise unreadable(error) from error
        total, done = max(1, file.metadata.num_rows), 0
        size = source.seek(0, io.SEEK_END)
        rows = max(1, min(1 << 20, CHUNK_BYTES * total // max(1, _uncompressed(file.metadata))))
        for batch in file.iter_batches(batch_size=rows):
            frame = batch.to_pandas()
            done += len(frame)
            yield Chunk(ModelInput(frame), len(frame), size * done // total, done - len(frame) + 1)


def _uncompressed(metadata: Any) -> int:
    return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
