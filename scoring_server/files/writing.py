"""Batch output: JSON in MLflow's shape, CSV and Parquet, written one chunk after the other."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pandas as pd

from ..errors import ScoringError
from ..formats.encoding import dumps, top_level
from ..formats.parsing import CSV, JSON, PARQUET, ModelInput
from ..formats.tables import COLUMN, to_frame
from .reading import JSON_LINES


def open_writer(format: str, target: BinaryIO) -> Any:
    """The writer for a format, with `write(predictions, model_input)` and `close()`.

    :raises ScoringError: the format is not known, or needs a package that is missing.
    """
    try:
        return _WRITERS[format](target)
    except KeyError:
        raise ScoringError("The output format {!r} is not known.".format(format)) from None


class _JsonWriter:
    """{"predictions": [...]}: the list grows with every chunk."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._chunks = 0
        self._end = b"]}\n"

    def write(self, predictions: Any, model_input: ModelInput) -> None:
        plain = top_level(predictions)
        self._chunks += 1
        if model_input.is_raw or not isinstance(plain, (list, tuple)):
            if self._chunks > 1:
                raise ScoringError(
                    "The model's answers ({}) cannot be joined: score the input in smaller"
                    " files.".format(type(predictions).__name__)
                )
            self._target.write(dumps(plain if model_input.is_raw else {"predictions": plain}))
            self._end = b"\n"
            return
        if self._end == b"\n":
            raise ScoringError("The model's answers are not all lists and cannot be joined.")
        items = dumps(plain)[1:-1]
        if self._chunks == 1:
            self._target.write(b'{"predictions": [')
        elif items:
            self._target.write(b", ")
        self._target.write(items)

    def close(self) -> None:
        if self._chunks == 0:
            self._target.write(b'{"predictions": [')
        self._target.write(self._end)


class _JsonLinesWriter:
    """A prediction a line; an answer that is no list is one line."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target

    def write(self, predictions: Any, _: ModelInput) -> None:
        plain = top_level(predictions)
        for each in plain if isinstance(plain, (list, tuple)) else (plain,):
            self._target.write(dumps(each) + b"\n")

    def close(self) -> None:
        pass


class _CsvWriter:
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._columns: Any = None

    def write(self, predictions: Any, _: ModelInput) -> None:
        frame = to_frame(predictions)
        text = io.StringIO()
        frame.to_csv(text, index=False, header=self._columns is None)
        self._columns = list(frame.columns)
        self._target.write(text.getvalue().encode("utf-8"))

    def close(self) -> None:
        pass


class _ParquetWriter:
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._writer: Any = None
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ScoringError(
                "Parquet output needs the package pyarrow in the model's environment."
            ) from error
        self._pyarrow = pyarrow

    def write(self, predictions: Any, _: ModelInput) -> None:
        frame = to_frame(predictions)
        schema = None if self._writer is None else self._writer.schema
        table = self._pyarrow.Table.from_pandas(frame, schema=schema, preserve_index=False)
        if self._writer is None:
            self._writer = self._pyarrow.parquet.ParquetWriter(self._target, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is None:
            self.write(pd.DataFrame({COLUMN: []}), ModelInput(None))
        self._writer.close()


_WRITERS = {
    CSV: _CsvWriter,
    JSON: _JsonWriter,
    JSON_LINES: _JsonLinesWriter,
    PARQUET: _ParquetWriter,
}
