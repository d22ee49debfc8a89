"""Safe conversion of a pandas column to one of the signature's scalar types.

Which conversions are safe is MLflow's choice ("Model Signatures", section on type enforcement):
upcasts within a kind, small integers to double, anything with a time zone-free time to datetime.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np
import pandas as pd

from ..errors import reason, schema_error
from .misfits import column_misfit
from .schema import BINARY, BOOLEAN, DATETIME, DOUBLE, STRING, DataType

Check = Callable[[pd.Series], pd.Series]

DATETIME_NS = np.dtype("datetime64[ns]")


def compile_check(name: Optional[Any], kind: DataType) -> Check:
    """Make the function that turns a column into type `kind`, or raises `ScoringError`.

    :param name: the column's, for messages; None for a value inside a nested type.
    """
    wanted = kind.pandas

    def check(values: pd.Series) -> pd.Series:
        if values.dtype == wanted and wanted != object:
            return values
        return _convert(name, values, kind)

    return check


def is_settled(dtype: Any, kind: DataType) -> bool:
    """Whether a column of that dtype stays as it is, whatever its values are."""
    if kind in (STRING, BINARY):
        return bool(dtype == object) or isinstance(dtype, pd.StringDtype)
    return bool(dtype == kind.pandas)


def is_text(values: pd.Series) -> bool:
    """Whether the column has pandas' own string type (what pandas 3 makes of text)."""
    return isinstance(values.dtype, pd.StringDtype)


def _convert(name: Optional[Any], values: pd.Series, kind: DataType) -> pd.Series:
    try:
        return convert_safely(name, values, kind)
    except (ValueError, TypeError) as error:
        raise _refusal(name, _inferred(values, kind), kind) from error


def _inferred(values: pd.Series, kind: DataType) -> pd.Series:
    if values.dtype == object and kind not in (BINARY, STRING):
        return values.infer_objects()
    return values


def convert_safely(name: Optional[Any], values: pd.Series, kind: DataType) -> pd.Series:
    """The column as type `kind`.

    :raises ValueError, TypeError: it is refused; `compile_check` says why.
    :raises ScoringError: it is no column of times.
    """
    values = _inferred(values, kind)
    dtype = values.dtype
    if kind in (STRING, BINARY) and (dtype == object or is_text(values)):
        return values
    if dtype == kind.pandas or dtype == kind.numpy:
        return values
    if kind is DATETIME and (dtype.kind == "M" or dtype == object or is_text(values)):
        return _to_datetime(name, values)
    if dtype == object and kind is BOOLEAN:
        # Missing values among booleans: a cast would turn them into False.
        return values
    if dtype == object and kind is DOUBLE:
        # Decimals, as Spark and databases give them.
        return pd.to_numeric(values, errors="raise")
    if _is_upcast(dtype, kind) or (
        dtype == np.int64 and kind.numpy.kind == "f" and bool(values.isin([0, 1]).all())
    ):
        # Refuses a nullable integer column with missing values.
        return values.astype(kind.numpy)
    raise TypeError("{} is no {}".format(dtype, kind))


def _is_upcast(dtype: Any, kind: DataType) -> bool:
    wanted = kind.numpy
    if not hasattr(dtype, "itemsize"):
        return False
    if dtype.kind == wanted.kind:
        return bool(dtype.itemsize <= wanted.itemsize)
    if dtype.kind == "u" and wanted.kind == "i":
        return bool(dtype.itemsize < wanted.itemsize)
    # A double holds every integer of up to 6 bytes exactly.
    return bool(dtype.kind in "iu" and wanted == np.float64 and dtype.itemsize <= 6)


def _to_datetime(name: Optional[Any], values: pd.Series) -> pd.Series:
    if getattr(values.dtype, "tz", None) is not None:
        raise schema_error(
            "{}: the times carry a time zone; the signature's datetime has none.".format(
                _where(name)
            )
        )
    try:
        return values.astype(DATETIME_NS)
    except (ValueError, TypeError, OverflowError) as error:
        found = column_misfit(values, lambda part: part.astype(DATETIME_NS))
        raise schema_error(
            "{}: expected datetime, {}.".format(_where(name), found or reason(error))
        ) from error


def _refusal(name: Optional[Any], values: pd.Series, kind: DataType) -> Exception:
    hint = ""
    if values.dtype == np.float64 and kind.numpy.kind in "iu" and values.hasnans:
        known = values.dropna()
        if bool((known == known.round()).all()):
            hint = (
                " Integers with missing values become floats in pandas: declare the column as"
                " double in the signature, or send no missing values."
            )
    found = None
    if values.dtype == object:
        found = column_misfit(values, lambda part: convert_safely(name, part, kind))
    if found is not None:
        return schema_error("{}: expected {}, {}.".format(_where(name), kind, found))
    return schema_error(
        "{}: values of type {} cannot be converted safely to {} ({}).{}".format(
            _where(name), values.dtype, kind, kind.numpy, hint
        )
    )


def _where(name: Optional[Any]) -> str:
    return "Nested value" if name is None else "Column {!r}".format(name)
