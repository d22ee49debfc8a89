"""JSON rows turned at once into the table that the signature wants, where they are plain.

The general way makes a table of whatever was sent, casts its columns and then enforces the
signature on it; each step costs more than predicting a few rows does. Rows of plain numbers and
texts, which is what clients send, need none of that. Everything else (missing values, numbers of
another kind than the signature has, texts for numbers, an index) gives None here and takes the
general way, which says what is wrong with it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import pandas as pd

from .number_rows import NumberRows
from .schema import BOOLEAN, DOUBLE, FLOAT, INTEGER, LONG, STRING, DataType, Schema

# The kinds of numpy arrays whose cast to a type is the same column by column and value by value.
_KINDS = {DOUBLE: "fiu", FLOAT: "fi", LONG: "i", INTEGER: "i", BOOLEAN: "b"}
_INT32 = np.iinfo(np.int32)


class PlainRows:
    """Reads rows for a signature of named columns of numbers, booleans and texts.

    `number_names` are those of the columns where all of them are numbers, else None. Then
    `keeps_numbers` has it give the rows as they are, for somebody who may need no table.
    """

    def __init__(self, names: List[str], kinds: List[DataType]) -> None:
        self._names = names
        self.number_names = None if {BOOLEAN, STRING} & set(kinds) else names
        self.keeps_numbers = False
        self._kinds = kinds
        self._columns = pd.Index(names)
        self._is_all_double = all(kind is DOUBLE for kind in kinds)
        self._record = itemgetter(*names)

    @classmethod
    def for_schema(cls, schema: Optional[Schema]) -> Optional[PlainRows]:
        """The reader for a schema; None where it has other types or no names."""
        if schema is None or schema.is_tensor or not schema.is_named:
            return None
        kinds: List[Any] = [getattr(spec, "type", None) for spec in schema.inputs]
        if len(set(schema.names)) < len(kinds):
            return None
        if not all(kind in _KINDS or kind is STRING for kind in kinds):
            return None
        return cls(list(schema.names), kinds)

    def read(self, form: str, value: Any) -> Union[pd.DataFrame, NumberRows, None]:
        """The table for the value of `dataframe_split` or `dataframe_records`, else None."""
        found = self._read(form, value)
        return found.frame() if isinstance(found, NumberRows) and not self.keeps_numbers else found

    def of_array(self, values: np.ndarray) -> Union[pd.DataFrame, NumberRows]:
        """The rows of an array of the columns' type, in the signature's order, in Fortran's."""
        rows = NumberRows(self._columns, values)
        return rows if self.keeps_numbers else rows.frame()

    def _read(self, form: str, value: Any) -> Union[pd.DataFrame, NumberRows, None]:
        rows = None
        if form == "dataframe_split":
            rows = self._split(value)
        elif form == "dataframe_records":
            rows = self._records(value)
        if not rows:
            return None
        if self._is_all_double:
            values = _numbers(rows, "fiu")
            if values is None or values.ndim != 2:
                return None
            # Column after column in memory, as pandas lays out columns that were given one by one:
            # sums in a model may differ in their last bits otherwise.
            values = np.asfortranarray(values, dtype=np.float64)
            return NumberRows(self._columns, values)
        arrays = [_column(values, kind) for values, kind in zip(zip(*rows), self._kinds)]
        if any(array is None for array in arrays):
            return None
        if self.number_names is not None:
            return NumberRows(self._columns, arrays=arrays)
        return pd.DataFrame(dict(zip(self._names, arrays)), copy=False)

    def _split(self, value: Any) -> Optional[Sequence[Any]]:
        """The rows, in the signature's order of columns."""
        if not isinstance(value, dict) or set(value) != {"columns", "data"}:
            return None
        columns, rows = value["columns"], value["data"]
        if not isinstance(columns, list) or not isinstance(rows, list):
            return None
        if not _are_lists(rows, len(columns)):
            return None
        if columns == self._names:
            return rows
        try:
            positions = [columns.index(name) for name in self._names]
        except ValueError:
            return None
        if len(set(map(str, columns))) < len(columns) or len(positions) < 2:
            return None
        return list(map(itemgetter(*positions), rows))

    def _records(self, value: Any) -> Optional[Sequence[Any]]:
        # With one name, itemgetter gives the value and not a tuple of it.
        if not isinstance(value, list) or len(self._names) < 2:
            return None
        try:
            return list(map(self._record, value))
        except (KeyError, TypeError):
            return None


class Table(NamedTuple):
    """Columns of values as they were sent, each as long as the others."""

    names: List[str]
    columns: List[Sequence[Any]]
    rows: int


class ValueRows:
    """Reads rows without a signature into a `Table`, for a model that takes values as they are.

    Rows of unequal length, and forms that only pandas knows, take the general way here, too.
    """

    def read(self, form: str, value: Any) -> Optional[Table]:
        """The table for the value of `dataframe_split` or `dataframe_records`, else None."""
        if form == "dataframe_split":
            return self._split(value)
        return self._records(value) if form == "dataframe_records" else None

    def _split(self, value: Any) -> Optional[Table]:
        if not isinstance(value, dict) or not {"columns", "data"} <= set(value):
            return None
        names, rows = value["columns"], value["data"]
        if set(value) != {"columns", "data"} or not isinstance(names, list):
            return None
        if not isinstance(rows, list) or not rows or not _are_lists(rows, len(names)):
            return None
        if set(map(type, names)) != {str}:
            return None
        return Table(names, list(zip(*rows)), len(rows))

    def _records(self, value: Any) -> Optional[Table]:
        if not isinstance(value, list) or set(map(type, value)) != {dict}:
            return None
        # In the order in which they come first, as pandas has them.
        names = list(dict.fromkeys(name for row in value for name in row))
        return Table(names, [[row.get(name) for row in value] for name in names], len(value))


def _are_lists(rows: List[Any], length: int) -> bool:
    if set(map(type, rows)) != {list}:
        return False
    return set(map(len, rows)) == {length}


def _numbers(values: Any, kinds: str) -> Optional[np.ndarray]:
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in kinds else None


def _column(values: Sequence[Any], kind: DataType) -> Any:
    """The values as an array (texts: a list) of the wanted type, None where they are not plain."""
    if kind is STRING:
        # As a list, so that pandas makes of it what it makes of texts elsewhere.
        return list(values) if set(map(type, values)) == {str} else None
    array = _numbers(values, _KINDS[kind])
    if array is None or array.ndim != 1:
        return None
    if kind is INTEGER and not (_INT32.min <= array.min() and array.max() <= _INT32.max):
        return None
    return array.astype(kind.pandas, copy=False)
