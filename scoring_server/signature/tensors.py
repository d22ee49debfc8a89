"""Tensor-based signatures: dtype and shape of numpy arrays, and DataFrames turned into arrays.

What is accepted follows `mlflow.models.utils._enforce_tensor_schema`.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import pandas as pd

from ..errors import reason, schema_error, type_name
from .schema import Schema, Tensor


def enforce_tensors(data: Any, schema: Schema) -> Any:
    """The data as the signature wants it: a dict of arrays for named tensors, else one array.

    :param data: a DataFrame, an array, a sparse matrix or a dict of arrays.
    :raises ScoringError: it does not fit.
    """
    if schema.is_named:
        if isinstance(data, dict):
            return {
                name: _check_array(_array_of(data, name), spec)
                for name, spec in schema.by_name.items()
            }
        if isinstance(data, pd.DataFrame):
            return {
                name: _column_to_array(name, data[name], spec)
                for name, spec in schema.by_name.items()
            }
        raise schema_error(
            "The signature has the named tensors {}: send an object of them, not {}.".format(
                schema.names, type_name(data)
            )
        )
    spec = schema.inputs[0]
    if isinstance(data, pd.DataFrame):
        return _frame_to_array(data, spec)
    if isinstance(data, np.ndarray) or _is_sparse(data):
        return _check_array(data, spec)
    sent = "objects" if isinstance(data, list) else type_name(data)
    raise schema_error(
        "The signature has one unnamed tensor: send one array of values, not {}.".format(sent)
    )


def _array_of(data: Any, name: str) -> np.ndarray:
    if not isinstance(data[name], np.ndarray):
        raise schema_error(
            "Tensor {!r}: expected an array, got {}.".format(name, type_name(data[name]))
        )
    return data[name]


def _is_sparse(data: Any) -> bool:
    return hasattr(data, "tocsr") and hasattr(data, "data")


def _where(spec: Tensor) -> str:
    return "Tensor {!r}".format(spec.name) if spec.name else "Tensor"


def _check_array(values: Any, spec: Any) -> Any:
    shape, expected = values.shape, spec.shape
    dtype = values.dtype if isinstance(values, np.ndarray) else values.data.dtype
    if expected == (-1,) and spec.dtype == object:
        return values
    if len(expected) > 1 and -1 in expected[1:] and len(shape) == 1 and dtype == object:
        # A ragged array: rows of unequal length.
        return values
    if len(expected) != len(shape) or any(
        want not in (-1, have) for want, have in zip(expected, shape)
    ):
        raise schema_error("{}: expected shape {}, got {}.".format(_where(spec), expected, shape))
    # The length of the longest text is no part of the type.
    plain = np.dtype(dtype.char) if dtype.char in "US" else dtype
    if plain != spec.dtype:
        raise schema_error("{}: expected dtype {}, got {}.".format(_where(spec), spec.dtype, dtype))
    return values


def _frame_to_array(frame: pd.DataFrame, spec: Any) -> Any:
    columns = len(frame.columns)
    if frame.empty:
        raise schema_error("The input has no rows.")
    if columns == 1:
        return _column_to_array(None, frame[frame.columns[0]], spec)
    if spec.shape != (-1, columns):
        raise schema_error(
            "Expected a tensor of shape {}, got a table of {} columns.".format(spec.shape, columns)
        )
    return _check_array(frame.to_numpy(), spec)


def _column_to_array(name: Optional[str], column: pd.Series, spec: Any) -> Any:
    shape = spec.shape
    if shape[0] != -1 or -1 in shape[1:]:
        raise schema_error(
            "{}: shape {} cannot be filled from a table: only the first dimension"
            " may be of any length.".format(_where(spec), shape)
        )
    if len(column) == 0:
        raise schema_error("The input has no rows.")
    first = column.iloc[0]
    if np.isscalar(first):
        if shape not in [(-1,), (-1, 1)]:
            raise schema_error(
                "{}: {} holds single values, which do not fill shape {}.".format(
                    _where(spec), "the table" if name is None else "column {!r}".format(name), shape
                )
            )
        try:
            return _check_array(np.array(column, dtype=spec.dtype).reshape(shape), spec)
        except (ValueError, TypeError) as error:
            raise schema_error("{}: {}.".format(_where(spec), reason(error))) from error
    is_list = isinstance(first, list) and len(first) > 0 and np.isscalar(first[0])
    if not is_list and not isinstance(first, np.ndarray):
        raise schema_error(
            "{}: the cells of a table must be single values or flat lists of them, got {}.".format(
                _where(spec), type_name(first)
            )
        )
    try:
        stacked = np.vstack(column.tolist()).reshape(shape)
        stacked = stacked.astype(spec.dtype) if is_list else stacked
    except (ValueError, TypeError) as error:
        raise schema_error("{}: rows do not fill shape {}.".format(_where(spec), shape)) from error
    if len(stacked) != len(column):
        raise schema_error("{}: rows do not fill shape {}.".format(_where(spec), shape))
    return stacked
