"""From a request's data to the bytes of a data.frame."""

from __future__ import annotations

import datetime
import decimal
from typing import Any, Dict, List, Sequence

import numpy as np
import pandas as pd

from ...errors import ScoringError, quote
from .format import (
    CHARS,
    DOUBLE,
    HAS_ATTRIBUTES,
    HAS_CLASS,
    HAS_TAG,
    HEAD,
    INT,
    INTEGER,
    IS_ASCII,
    IS_UTF8,
    LIST,
    LOGICAL,
    NA_DOUBLE,
    NA_INTEGER,
    NULL,
    PAIRLIST,
    RAW,
    SYMBOL,
    TEXTS,
    TWO_INTS,
)

_EPOCH = datetime.date(1970, 1, 1)
_A_SECOND = {"s": 1, "ms": 1000, "us": 1000000, "ns": 1000000000}
_MISSING = (type(None), type(pd.NaT), type(getattr(pd, "NA", None)))
_NA_TEXT = TWO_INTS.pack(CHARS, -1)


def dump(value: Any) -> bytes:
    """A value as R reads it.

    Tables become data.frames, dicts named lists, lists and arrays vectors, None NULL. A column is
    text even where all of its values are missing if pandas says so (`StringDtype`).

    :raises ScoringError: R's types would lose something of it.
    """
    pieces: List[bytes] = [HEAD]
    _write(pieces, value, "the request")
    return b"".join(pieces)


def as_table(data: Any) -> pd.DataFrame:
    """What a request brought as a table; columns without names are V1, V2, ..., as in R.

    :raises ScoringError: it is none.
    """
    if not isinstance(data, pd.DataFrame):
        try:
            data = _made_table(data)
        except (ValueError, TypeError) as error:
            raise ScoringError("a crate takes a table: {}".format(error)) from error
    if all(isinstance(name, (int, np.integer)) for name in data.columns):
        data = data.set_axis(["V{}".format(n + 1) for n in range(len(data.columns))], axis=1)
    return data


def _made_table(data: Any) -> pd.DataFrame:
    if isinstance(data, dict):
        columns = {name: _column_of(values) for name, values in data.items()}
        return pd.DataFrame(columns, dtype=object)
    if isinstance(data, list):
        return pd.DataFrame(data, dtype=object)
    array = np.asarray(data)
    if array.ndim > 2:
        raise ValueError("got an array of {} dimensions".format(array.ndim))
    return pd.DataFrame(array if array.ndim else array.reshape(1))


def _column_of(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.ndim:
        return values if values.ndim == 1 else list(values)
    return values if isinstance(values, list) else [values]


def _write_table(pieces: List[bytes], frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    pieces.append(TWO_INTS.pack(LIST | HAS_CLASS | HAS_ATTRIBUTES, len(names)))
    for position, name in enumerate(names):
        column = frame.iloc[:, position]
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        values = column.to_numpy() if isinstance(column.dtype, np.dtype) else column.astype(object)
        if isinstance(column.dtype, pd.StringDtype):
            _write_texts(pieces, [each if isinstance(each, str) else None for each in values])
        else:
            _write_vector(pieces, values, "column {}".format(quote(name)))
    _write_attributes(
        pieces,
        {"names": names, "class": ["data.frame"], "row.names": [None, -len(frame)]},
    )


def _write(pieces: List[bytes], value: Any, where: str) -> None:
    if value is None:
        pieces.append(INT.pack(NULL))
    elif isinstance(value, pd.DataFrame):
        _write_table(pieces, value)
    elif isinstance(value, dict):
        pieces.append(TWO_INTS.pack(LIST | HAS_ATTRIBUTES, len(value)))
        for name, item in value.items():
            _write(pieces, item, "{}, {}".format(where, quote(name)))
        _write_attributes(pieces, {"names": [str(name) for name in value]})
    elif isinstance(value, (bytes, bytearray)):
        pieces += [TWO_INTS.pack(RAW, len(value)), bytes(value)]
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        _write_vector(pieces, value, where)
    else:
        _write_vector(pieces, [value], where)


def _write_items(pieces: List[bytes], values: Sequence[Any], where: str) -> None:
    pieces.append(TWO_INTS.pack(LIST, len(values)))
    for item in values:
        _write(pieces, item, where)


def _write_vector(pieces: List[bytes], values: Any, where: str) -> None:
    """Values of one type as a vector, of several kinds of containers as a list."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        if values.dtype.kind in "iu":
            _write_integers(pieces, values, where)
            return
        if values.dtype.kind == "f":
            _write_doubles(pieces, values)
            return
        if values.dtype.kind == "b":
            _write_ints(pieces, LOGICAL, values)
            return
        if values.dtype.kind == "M":
            _write_times(pieces, values)
            return
        if values.dtype.kind == "m":
            attributes = {"class": ["difftime"], "units": ["secs"]}
            _write_doubles(pieces, _seconds(values), attributes)
            return
        if values.dtype.kind == "U":
            _write_texts(pieces, values.tolist())
            return
    _write_objects(pieces, list(values), where)


def _write_objects(pieces: List[bytes], values: List[Any], where: str) -> None:
    values = [each.item() if isinstance(each, np.generic) else each for each in values]
    # NaN stands for what is missing, too, where pandas has made the column.
    values = (
        [None if isinstance(each, _MISSING) or each != each else each for each in values]
        if (_are_scalars(values))
        else values
    )
    kinds = {type(each) for each in values if each is not None}
    if not kinds:
        _write_ints(pieces, LOGICAL, [NA_INTEGER] * len(values))
    elif kinds == {str}:
        _write_texts(pieces, values)
    elif kinds == {bool}:
        _write_ints(pieces, LOGICAL, [NA_INTEGER if v is None else int(v) for v in values])
    elif kinds <= {int, float, decimal.Decimal}:
        _write_numbers(pieces, values, where)
    elif kinds == {datetime.date}:
        days = [np.nan if each is None else float((each - _EPOCH).days) for each in values]
        _write_doubles(pieces, np.array(days), {"class": ["Date"]})
    elif all(issubclass(kind, datetime.datetime) for kind in kinds):
        times = pd.to_datetime(pd.Series(values, dtype=object), utc=True)
        _write_times(pieces, times.dt.tz_localize(None).to_numpy())
    elif kinds & {list, dict, tuple, np.ndarray, bytes, bytearray}:
        _write_items(pieces, values, where)
    else:
        found = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ScoringError("{} mixes {}: a vector in R has one type".format(where, found))


def _are_scalars(values: List[Any]) -> bool:
    return not any(isinstance(each, (list, dict, tuple, np.ndarray)) for each in values)


def _write_numbers(pieces: List[bytes], values: List[Any], where: str) -> None:
    known = [each for each in values if each is not None]
    if all(type(each) is int and NA_INTEGER < each < -NA_INTEGER for each in known):
        _write_ints(pieces, INTEGER, [NA_INTEGER if each is None else each for each in values])
        return
    doubles = []
    for each in values:
        if each is None:
            doubles.append(np.nan)
            continue
        try:
            double = float(each)
        except OverflowError:
            double = np.inf
        if double != each:
            raise _inexact(where, each)
        doubles.append(double)
    _write_doubles(pieces, np.array(doubles, np.float64))


def _inexact(where: str, number: Any) -> ScoringError:
    return ScoringError(
        "{} has {}, which R's numbers cannot hold exactly: send it as text".format(
            where, quote(str(number))
        )
    )


def _write_integers(pieces: List[bytes], values: np.ndarray, where: str) -> None:
    if not len(values) or (values.min() > NA_INTEGER and values.max() < -NA_INTEGER):
        _write_ints(pieces, INTEGER, values)
        return
    doubles = values.astype(np.float64)
    # Through Python's integers, which have no bounds.
    for number, double in zip(values.tolist(), doubles.tolist()):
        if number != double:
            raise _inexact(where, number)
    _write_doubles(pieces, doubles)


def _write_ints(pieces: List[bytes], kind: int, values: Any) -> None:
    pieces += [TWO_INTS.pack(kind, len(values)), np.asarray(values).astype(np.int32).tobytes()]


def _write_doubles(pieces: List[bytes], values: np.ndarray, attributes: Any = None) -> None:
    """Doubles, NA for NaN: requests have no other way to say that a number is missing."""
    doubles = np.array(values, np.float64)
    doubles[np.isnan(doubles)] = NA_DOUBLE
    flags = DOUBLE | (HAS_ATTRIBUTES | HAS_CLASS if attributes else 0)
    pieces += [TWO_INTS.pack(flags, len(doubles)), doubles.tobytes()]
    if attributes:
        _write_attributes(pieces, attributes)


def _write_times(pieces: List[bytes], values: np.ndarray) -> None:
    attributes = {"class": ["POSIXct", "POSIXt"], "tzone": ["UTC"]}
    _write_doubles(pieces, _seconds(values), attributes)


def _seconds(values: np.ndarray) -> np.ndarray:
    """Times or spans in seconds, rounded once."""
    steps = _A_SECOND[np.datetime_data(values.dtype)[0]]
    counts = values.view(np.int64)
    seconds = (counts // steps) + (counts % steps) / steps
    seconds[np.isnat(values)] = np.nan
    return seconds


def _write_texts(pieces: List[bytes], values: Sequence[Any]) -> None:
    pieces.append(TWO_INTS.pack(TEXTS, len(values)))
    pieces.extend(map(_text, values))


def _text(value: Any) -> bytes:
    if value is None:
        return _NA_TEXT
    encoded: bytes = value.encode("utf-8")
    if b"\0" in encoded:
        raise ScoringError("a text has the character U+0000, which R's texts cannot hold")
    flags = CHARS | (IS_ASCII if len(encoded) == len(value) else IS_UTF8)
    return TWO_INTS.pack(flags, len(encoded)) + encoded


def _tag(name: str) -> bytes:
    return INT.pack(PAIRLIST | HAS_TAG) + INT.pack(SYMBOL) + _text(name)


_TAGS = {name: _tag(name) for name in ("names", "class", "row.names", "tzone", "units")}


def _write_attributes(pieces: List[bytes], attributes: Dict[str, List[Any]]) -> None:
    for name, values in attributes.items():
        pieces.append(_TAGS[name])
        _write_objects(pieces, values, name)
    pieces.append(INT.pack(NULL))
