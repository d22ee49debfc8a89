"""From a request's data to the bytes of a data.frame."""

from __future__ import annotations

import datetime
import decimal
from typing import Any, Iterable, List, Sequence, Tuple, Union

import numpy as np
import pandas as pd

from ...errors import ScoringError, quote, reason
from ...signature.plain_rows import Table
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
_CONTAINERS = (list, dict, tuple, np.ndarray, bytes, bytearray)
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


def as_table(data: Any) -> Union[Table, pd.DataFrame]:
    """What a request brought as a table; columns without names are V1, V2, ..., as in R.

    :raises ScoringError: it is none.
    """
    if isinstance(data, Table):
        return data
    if not isinstance(data, pd.DataFrame):
        try:
            data = _made_table(data)
        except (ValueError, TypeError) as error:
            raise ScoringError("A crate takes a table: {}.".format(reason(error))) from error
    if not data.columns.empty and data.columns.dtype.kind in "iu":
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


# --- attributes ------------------------------------------------------------------------------


def _text(value: Any) -> bytes:
    if value is None:
        return _NA_TEXT
    encoded: bytes = value.encode("utf-8")
    if b"\0" in encoded:
        raise ScoringError("A text has the character U+0000, which R's texts cannot hold.")
    flags = CHARS | (IS_ASCII if len(encoded) == len(value) else IS_UTF8)
    return TWO_INTS.pack(flags, len(encoded)) + encoded


def _texts(values: Sequence[Any]) -> bytes:
    return TWO_INTS.pack(TEXTS, len(values)) + b"".join(map(_text, values))


def _tag(name: str) -> bytes:
    """The head of an attribute."""
    return INT.pack(PAIRLIST | HAS_TAG) + INT.pack(SYMBOL) + _text(name)


def _class(*names: str) -> bytes:
    return _tag("class") + _texts(names)


_END = INT.pack(NULL)
_NAMES = _tag("names")
_TABLE = _class("data.frame") + _tag("row.names") + TWO_INTS.pack(INTEGER, 2)
_DATE = _class("Date") + _END
_TIME = _class("POSIXct", "POSIXt") + _tag("tzone") + _texts(["UTC"]) + _END
_SPAN = _class("difftime") + _tag("units") + _texts(["secs"]) + _END


# --- values ----------------------------------------------------------------------------------


def _write(pieces: List[bytes], value: Any, name: str) -> None:
    """Append a value.

    :param name: what it is, for messages.
    """
    if value is None:
        pieces.append(_END)
    elif isinstance(value, Table):
        _write_table(pieces, value.names, zip(value.names, value.columns), value.rows)
    elif isinstance(value, pd.DataFrame):
        names = [str(each) for each in value.columns]
        _write_table(pieces, names, zip(names, _values(value)), len(value))
    elif isinstance(value, dict):
        pieces.append(TWO_INTS.pack(LIST | HAS_ATTRIBUTES, len(value)))
        for each, item in value.items():
            _write(pieces, item, each)
        pieces += [_NAMES, _texts([str(each) for each in value]), _END]
    elif isinstance(value, (bytes, bytearray)):
        pieces += [TWO_INTS.pack(RAW, len(value)), bytes(value)]
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        _write_vector(pieces, value, name)
    else:
        _write_objects(pieces, [value], name)


def _values(frame: pd.DataFrame) -> Iterable[Any]:
    """The columns of a table as arrays, or as lists of texts."""
    for _, column in frame.items():
        dtype = column.dtype
        if isinstance(dtype, np.dtype):
            yield column.to_numpy()
        elif isinstance(dtype, pd.StringDtype):
            yield _Texts(each if isinstance(each, str) else None for each in column.astype(object))
        elif getattr(dtype, "tz", None) is not None:
            yield column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        else:
            yield column.astype(object).to_numpy()


class _Texts(List[Any]):
    """Nothing but texts, even if all are missing."""


def _write_table(
    pieces: List[bytes], names: List[str], columns: Iterable[Tuple[str, Any]], rows: int
) -> None:
    pieces.append(TWO_INTS.pack(LIST | HAS_CLASS | HAS_ATTRIBUTES, len(names)))
    for name, values in columns:
        _write_vector(pieces, values, name)
    pieces += [_NAMES, _texts(names), _TABLE, TWO_INTS.pack(NA_INTEGER, -rows), _END]


def _write_vector(pieces: List[bytes], values: Any, name: str) -> None:
    """Values of one type as a vector; of several, where they are containers, as a list."""
    if isinstance(values, _Texts):
        pieces.append(_texts(values))
        return
    kind = values.dtype.kind if isinstance(values, np.ndarray) and values.ndim == 1 else ""
    if not kind or kind not in "iufbMmU":
        _write_objects(pieces, values, name)
    elif kind == "f":
        _write_doubles(pieces, values)
    elif kind == "b":
        _write_ints(pieces, LOGICAL, values)
    elif kind == "M":
        _write_doubles(pieces, _seconds(values), _TIME)
    elif kind == "m":
        _write_doubles(pieces, _seconds(values), _SPAN)
    elif kind == "U":
        pieces.append(_texts(values.tolist()))
    else:
        _write_integers(pieces, values, name)


def _write_objects(pieces: List[bytes], values: Sequence[Any], name: str) -> None:
    kinds = set(map(type, values))
    if kinds == {float}:
        _write_doubles(pieces, np.array(values))
        return
    if kinds == {str}:
        pieces.append(_texts(values))
        return
    if not all(kind in (int, bool) for kind in kinds):
        values = [_plain(each) for each in values]
        kinds = {type(each) for each in values if each is not None}
    if not kinds:
        _write_ints(pieces, LOGICAL, [NA_INTEGER] * len(values))
    elif kinds == {bool}:
        _write_ints(pieces, LOGICAL, [NA_INTEGER if v is None else int(v) for v in values])
    elif kinds <= {int, float, decimal.Decimal}:
        _write_numbers(pieces, values, name)
    elif kinds == {str}:
        pieces.append(_texts(values))
    elif kinds == {datetime.date}:
        days = [np.nan if each is None else float((each - _EPOCH).days) for each in values]
        _write_doubles(pieces, np.array(days), _DATE)
    elif all(issubclass(kind, datetime.datetime) for kind in kinds):
        times = pd.to_datetime(pd.Series(values, dtype=object), utc=True)
        _write_doubles(pieces, _seconds(times.dt.tz_localize(None).to_numpy()), _TIME)
    elif kinds.intersection(_CONTAINERS):
        pieces.append(TWO_INTS.pack(LIST, len(values)))
        for item in values:
            _write(pieces, item, name)
    else:
        found = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ScoringError(
            "Column {} mixes {}: a vector in R has one type.".format(quote(name), found)
        )


def _plain(value: Any) -> Any:
    """A value of Python's own types, None for what is missing (in pandas' columns NaN is)."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _MISSING) or (isinstance(value, float) and value != value):
        return None
    return value


def _write_numbers(pieces: List[bytes], values: Sequence[Any], name: str) -> None:
    if all(each is None or type(each) is int for each in values):
        known = [each for each in values if each is not None]
        if min(known) > NA_INTEGER and max(known) < -NA_INTEGER:
            _write_ints(pieces, INTEGER, [NA_INTEGER if v is None else v for v in values])
            return
    _write_doubles(pieces, np.array([_double(each, name) for each in values], np.float64))


def _double(number: Any, name: str) -> float:
    if number is None:
        return np.nan
    try:
        double = float(number)
    except OverflowError:
        double = np.inf
    # NaN is not itself.
    if double != number and number == number:
        raise ScoringError(
            "Column {} has {}, which R's numbers cannot hold exactly: send it as text.".format(
                quote(name), quote(str(number))
            )
        )
    return double


def _write_integers(pieces: List[bytes], values: np.ndarray, name: str) -> None:
    if not len(values) or (values.min() > NA_INTEGER and values.max() < -NA_INTEGER):
        _write_ints(pieces, INTEGER, values)
    else:
        # Through Python's integers, which have no bounds.
        _write_numbers(pieces, values.tolist(), name)


def _write_ints(pieces: List[bytes], kind: int, values: Any) -> None:
    pieces += [TWO_INTS.pack(kind, len(values)), np.asarray(values).astype(np.int32).tobytes()]


def _write_doubles(pieces: List[bytes], values: np.ndarray, attributes: bytes = b"") -> None:
    """Doubles, NA for NaN: requests have no other way to say that a number is missing."""
    doubles = values.astype(np.float64)
    missing = np.isnan(doubles)
    if missing.any():
        doubles[missing] = NA_DOUBLE
    flags = DOUBLE | (HAS_ATTRIBUTES | HAS_CLASS if attributes else 0)
    pieces += [TWO_INTS.pack(flags, len(doubles)), doubles.tobytes(), attributes]


def _seconds(values: np.ndarray) -> np.ndarray:
    """Times or spans in seconds, rounded once."""
    steps = _A_SECOND[np.datetime_data(values.dtype)[0]]
    counts = values.view(np.int64)
    seconds = (counts // steps) + (counts % steps) / steps
    seconds[np.isnat(values)] = np.nan
    return seconds
