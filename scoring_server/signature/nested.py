"""Values of the signature's nested types: array, object, map, any.

A type is compiled once into a function that takes one value (of a cell, as JSON gave it) and
returns it with its scalars converted, or raises `ScoringError`. The conversions and what counts
as missing follow `mlflow.models.utils` (`_enforce_array`, `_enforce_object`, `_enforce_map`).
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np
import pandas as pd

from ..errors import ScoringError, quote, schema_error
from .datatypes import compile_check, convert_safely
from .misfits import first_refused, told
from .schema import (
    BOOLEAN,
    DATETIME,
    DOUBLE,
    LONG,
    STRING,
    AnyType,
    Array,
    DataType,
    Map,
    Object,
    Type,
)

Enforce = Callable[[Any], Any]


def compile_type(kind: Type, required: bool = True) -> Enforce:
    """Make the function for a type, which raises `ScoringError` for values that do not fit.

    :param required: whether a value must be there.
    """
    if isinstance(kind, DataType):
        return _scalar(kind, required)
    if isinstance(kind, Array):
        return _array(kind, required)
    if isinstance(kind, Object):
        return _object(kind, required)
    if isinstance(kind, Map):
        return _map(kind, required)
    return _identity


def _identity(value: Any) -> Any:
    return value


# What pandas makes of one Python value, where its type already is the one wanted.
_EXACT: Dict[DataType, Any] = {
    BOOLEAN: (bool, np.bool_),
    LONG: (int, np.int64),
    DOUBLE: (float, np.float64),
    STRING: (str, str),
}


def _scalar(kind: DataType, required: bool) -> Enforce:
    check = compile_check(None, kind)
    exact, convert = _EXACT.get(kind, (None, None))

    def enforce(value: Any) -> Any:
        if type(value) is exact and (exact is not int or -(2**63) <= value < 2**63):
            return convert(value)
        if not required and _is_missing(value):
            return None
        # What was cast before is a time by now, which numpy calls no scalar.
        is_time = kind is DATETIME and isinstance(value, pd.Timestamp)
        if not np.isscalar(value) and not is_time:
            raise schema_error("Expected {}, got {}.".format(kind, told(value)))
        try:
            return check(pd.Series([value]))[0]
        except ScoringError as error:
            raise schema_error("Expected {}, got {}.".format(kind, told(value))) from error

    return enforce


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _array(kind: Array, required: bool) -> Enforce:
    may_be_empty = not required or isinstance(kind.items, AnyType)
    items = _items(kind.items, required)

    def enforce(value: Any) -> Any:
        is_list = isinstance(value, (list, np.ndarray))
        if may_be_empty and (value is None or (is_list and len(value) == 0)):
            return value
        if not is_list:
            raise schema_error("Expected an array, got {}.".format(told(value)))
        return items(value)

    return enforce


def _items(kind: Type, required: bool) -> Enforce:
    """The items of an array: scalars as one pandas column, the rest one by one."""
    if isinstance(kind, DataType):
        check = compile_check(None, kind)
        one = _scalar(kind, required)
        numpy_type = kind.numpy

        def scalars(values: Any) -> Any:
            if len(values) == 0:
                return values
            try:
                converted = check(pd.Series(values)).to_numpy(dtype=numpy_type)
            except ScoringError:
                there = values if required else [v for v in values if not _is_missing(v)]
                found = first_refused(
                    lambda start, stop: convert_safely(None, pd.Series(there[start:stop]), kind),
                    len(there),
                )
                if found is not None:
                    one(there[found])  # raises, with the value
                raise
            if not isinstance(values, list):
                return converted
            # ndarray.tolist() makes integers of nanosecond times.
            return pd.Series(converted).tolist() if kind is DATETIME else converted.tolist()

        return scalars
    enforce_item = compile_type(kind, required)

    def one_by_one(values: Any) -> Any:
        converted = [enforce_item(value) for value in values]
        return converted if isinstance(values, list) else np.array(converted)

    return one_by_one


def _object(kind: Object, required: bool) -> Enforce:
    enforce_property = {p.name: compile_type(p.type, p.required) for p in kind.properties}
    types = {p.name: p.type for p in kind.properties}
    required_names = {p.name for p in kind.properties if p.required}

    def enforce(value: Any) -> Any:
        if not required and (value is None or value == {}):
            return value
        if not isinstance(value, dict):
            raise schema_error("Expected an object, got {}.".format(told(value)))
        missing = required_names.difference(value)
        if missing:
            raise schema_error("The required properties {} are missing.".format(sorted(missing)))
        unknown = [key for key in value if key not in enforce_property]
        if unknown:
            raise schema_error("The properties {} are not in the signature.".format(quote(unknown)))
        converted = {}
        for key, item in value.items():
            try:
                converted[key] = enforce_property[key](item)
            except ScoringError as error:
                raise schema_error(
                    "Property {!r} ({!r}): {}".format(key, types[key], error.message)
                ) from error
        return converted

    return enforce


def _map(kind: Map, required: bool) -> Enforce:
    may_be_empty = not required or isinstance(kind.values, AnyType)
    enforce_value = compile_type(kind.values, required)

    def enforce(value: Any) -> Any:
        if may_be_empty and (value is None or value == {}):
            return value
        if not isinstance(value, dict):
            raise schema_error("Expected an object, got {}.".format(told(value)))
        if not all(isinstance(key, str) for key in value):
            raise schema_error("The keys of a map must be strings.")
        return {key: enforce_value(item) for key, item in value.items()}

    return enforce
