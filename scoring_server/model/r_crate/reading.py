"""From the bytes of R's answer to what the server encodes."""

from __future__ import annotations

import datetime
from typing import Any, Dict, List, Optional

import numpy as np
import pandas as pd

from .format import (
    CHARS,
    DOUBLE,
    HAS_ATTRIBUTES,
    HAS_TAG,
    HEAD,
    INT,
    INTEGER,
    IS_LATIN1,
    LIST,
    LOGICAL,
    NA_INTEGER,
    NULL,
    PAIRLIST,
    RAW,
    REFERENCE,
    SYMBOL,
    TEXTS,
)

_EPOCH = datetime.date(1970, 1, 1)
# Bytes of an item of a list or a vector, and of a text.
_SMALLEST_ITEM, _SMALLEST_TEXT = 4, 8


class NotReadable(ValueError):
    """Bytes that the other end's `serialize` has not written."""


def load(data: bytes) -> Any:
    """The value that R has serialized, once `worker.R` has made it plain.

    Vectors and arrays become numpy's arrays, of objects with None where something is missing;
    data.frames pandas' tables; lists lists and, with names, dicts; NULL None. Within lists a vector
    of one element is that element, unless R marks it by `I()`. A type that has no counterpart
    becomes an object whose type has a telling name and that no encoder takes.

    :raises NotReadable: that is not what it is.
    """
    try:
        return _Reader(data).read()
    except NotReadable:
        raise
    # Whatever it is that damaged bytes lead to.
    except Exception as error:
        raise NotReadable("R's answer cannot be read: {!r}".format(error)) from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:2] != HEAD[:2]:
            raise NotReadable("R's answer does not begin as it should")
        self._data = data
        self._place = len(HEAD)
        self._symbols: List[str] = []

    def read(self) -> Any:
        flags = self._int()
        kind = flags & 0xFF
        if kind == NULL:
            return None
        if kind in (SYMBOL, REFERENCE):
            return type("R's " + self._symbol(flags), (), {})()
        if kind == RAW:
            return self._take(self._int())
        if kind == LIST:
            items = [self.read() for _ in range(self._count(_SMALLEST_ITEM))]
            return _container(items, self._attributes(flags))
        return _vector(self._values(kind), self._attributes(flags))

    def _values(self, kind: int) -> np.ndarray:
        length = self._count(_SMALLEST_TEXT if kind == TEXTS else _SMALLEST_ITEM)
        if kind == DOUBLE:
            return np.frombuffer(self._take(8 * length), np.float64)
        if kind == TEXTS:
            values = np.empty(length, object)
            values[:] = [self._chars() for _ in range(length)]
            return values
        if kind not in (INTEGER, LOGICAL):
            raise NotReadable("R's answer has something of type {}".format(kind))
        integers = np.frombuffer(self._take(4 * length), np.int32)
        missing = integers == NA_INTEGER
        values = integers.astype(bool) if kind == LOGICAL else integers
        return _with_missing(values, missing) if missing.any() else values

    def _attributes(self, flags: int) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        if not flags & HAS_ATTRIBUTES:
            return found
        while True:
            flags = self._int()
            if flags & 0xFF == NULL:
                return found
            if flags & 0xFF != PAIRLIST or not flags & HAS_TAG:
                raise NotReadable("R's answer has attributes without names")
            name = self._symbol(self._int())
            value = self.read()
            found[name] = value.tolist() if isinstance(value, np.ndarray) else value

    def _symbol(self, flags: int) -> str:
        if flags & 0xFF == REFERENCE:
            return self._symbols[(flags >> 8 or self._int()) - 1]
        if flags & 0xFF != SYMBOL:
            raise NotReadable("R's answer has no name where one should be")
        self._symbols.append(self._chars() or "NA")
        return self._symbols[-1]

    def _chars(self) -> Optional[str]:
        flags, length = self._int(), self._int()
        if flags & 0xFF != CHARS:
            raise NotReadable("R's answer has no text where one should be")
        if length < 0:
            return None
        encoding = "latin-1" if flags & IS_LATIN1 else "utf-8"
        return self._take(length).decode(encoding, "replace")

    def _count(self, size: int) -> int:
        """How many items follow; each takes so many bytes at least."""
        count = self._int()
        if not 0 <= count * size <= len(self._data) - self._place:
            raise NotReadable("R's answer ends too early")
        return count

    def _int(self) -> int:
        (number,) = INT.unpack(self._take(4))
        return int(number)

    def _take(self, size: int) -> bytes:
        start, self._place = self._place, self._place + size
        if size < 0 or self._place > len(self._data):
            raise NotReadable("R's answer ends too early")
        return self._data[start : self._place]


def _vector(values: np.ndarray, attributes: Dict[str, Any]) -> np.ndarray:
    kinds = attributes.get("class") or ()
    if "Date" in kinds:
        values = _objects(values, lambda days: _EPOCH + datetime.timedelta(days // 1))
    elif "POSIXct" in kinds:
        values = _objects(values, lambda seconds: pd.Timestamp(round(seconds * 1e6), unit="us"))
    elif "integer64" in kinds:
        values = values.view(np.int64)
        missing = values == np.iinfo(np.int64).min
        values = _with_missing(values, missing) if missing.any() else values
    if "dim" in attributes:
        values = values.reshape(attributes["dim"], order="F")
    return _AsIs.of(values) if "AsIs" in kinds else values


class _AsIs(np.ndarray):
    """An array that stays one within a list, whatever its length."""

    @classmethod
    def of(cls, values: np.ndarray) -> _AsIs:
        return values.view(cls)


def _objects(values: np.ndarray, make: Any) -> np.ndarray:
    """Objects made of numbers, None for those that are not finite."""
    known = [each is not None and bool(np.isfinite(each)) for each in values]
    made = np.empty(len(values), object)
    made[:] = [make(each) if is_known else None for each, is_known in zip(values.tolist(), known)]
    return made


def _with_missing(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    objects = values.astype(object)
    objects[missing] = None
    return objects


def _container(items: List[Any], attributes: Dict[str, Any]) -> Any:
    names = attributes.get("names")
    if "data.frame" in (attributes.get("class") or ()):
        rows = attributes.get("row.names") or []
        # Without names of their own, the rows are counted: c(NA, -rows).
        count = abs(rows[1]) if len(rows) == 2 and rows[0] is None else len(rows)
        table = pd.DataFrame(index=range(count))
        for place, item in enumerate(items):
            table.insert(place, (names or ())[place], _column(item), allow_duplicates=True)
        return table
    items = [_unboxed(item) for item in items]
    return items if names is None else dict(zip(names, items))


def _column(values: Any) -> Any:
    """A column of a table: a list or a table within it has an item a row."""
    if isinstance(values, pd.DataFrame):
        values = values.to_dict(orient="records")
    if isinstance(values, (list, bytes)) or (isinstance(values, np.ndarray) and values.ndim > 1):
        column = np.empty(len(values), object)
        column[:] = list(values)
        return column
    return np.asarray(values)


def _unboxed(value: Any) -> Any:
    is_one = isinstance(value, np.ndarray) and value.shape == (1,)
    return value.tolist()[0] if is_one and not isinstance(value, _AsIs) else value
