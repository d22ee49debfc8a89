"""Whether two answers of a model are the same, to the last bit: what proofs are made of."""

from __future__ import annotations

import struct
from typing import Any, Optional

import numpy as np
import pandas as pd

_DOUBLE = struct.Struct("<d")
# Scalars whose own equality says all that there is to say, once their types agree.
_PLAIN = (str, bytes, int, type(None), pd.Timestamp, pd.Timedelta)


def difference(expected: Any, got: Any, tolerance: float = 0.0) -> Optional[str]:
    """What differs between two answers of a model; None for nothing.

    Types, dtypes, shapes, labels and values are compared, floating-point numbers by their bits, so
    that 0.0 is not -0.0 and a NaN is itself. The layout in memory is not compared.

    :param tolerance: by how much floating-point numbers may differ, as a share of the expected
        number where that is larger than 1.
    """
    if type(expected) is not type(got):
        return "{} is not {}".format(_kind(got), _kind(expected))
    if isinstance(expected, np.ndarray):
        return _arrays(expected, got, tolerance)
    if isinstance(expected, pd.DataFrame):
        return _frames(expected, got, tolerance)
    if isinstance(expected, pd.Series):
        return (
            difference(expected.name, got.name)
            or _labels(expected.index, got.index)
            or _columns(expected, got, tolerance)
        )
    if isinstance(expected, dict):
        if list(expected) != list(got):
            return "the keys {} are not {}".format(list(got), list(expected))
        return _sequences(list(expected.values()), list(got.values()), tolerance)
    if isinstance(expected, (list, tuple)):
        return _sequences(expected, got, tolerance)
    if isinstance(expected, np.generic):
        return _arrays(np.asarray(expected), np.asarray(got), tolerance)
    if isinstance(expected, float):
        if _DOUBLE.pack(expected) == _DOUBLE.pack(got) or _is_near(expected, got, tolerance):
            return None
        return "{!r} is not {!r}".format(got, expected)
    if not isinstance(expected, _PLAIN):
        return "{} cannot be compared".format(_kind(expected))
    return None if expected == got else "{!r} is not {!r}".format(got, expected)


def _arrays(expected: np.ndarray, got: np.ndarray, tolerance: float) -> Optional[str]:
    if expected.dtype != got.dtype or expected.shape != got.shape:
        return "{} of shape {} is not {} of shape {}".format(
            got.dtype, got.shape, expected.dtype, expected.shape
        )
    if expected.dtype.hasobject:
        return _sequences(expected.ravel().tolist(), got.ravel().tolist(), tolerance)
    if expected.tobytes() == got.tobytes():
        return None
    if expected.dtype.kind in "fc":
        same = (expected == got) | (np.isnan(expected) & np.isnan(got))
        wanted = np.where(same, 0, expected)
        off = np.abs(np.where(same, 0, got) - wanted)
        if tolerance and bool((off <= tolerance * np.maximum(1.0, np.abs(wanted))).all()):
            return None
        return "numbers differ by up to {:.3g}".format(float(off.max()))
    return "values differ"


def _frames(expected: pd.DataFrame, got: pd.DataFrame, tolerance: float) -> Optional[str]:
    found = _labels(expected.columns, got.columns) or _labels(expected.index, got.index)
    for place in range(0 if found else expected.shape[1]):
        found = found or _columns(expected.iloc[:, place], got.iloc[:, place], tolerance)
    return found


def _labels(expected: pd.Index, got: pd.Index) -> Optional[str]:
    if expected.dtype == got.dtype and expected.equals(got):
        return None
    return "the labels {} are not {}".format(list(got[:5]), list(expected[:5]))


def _columns(expected: pd.Series, got: pd.Series, tolerance: float) -> Optional[str]:
    if expected.dtype != got.dtype:
        return "{} is not {}".format(got.dtype, expected.dtype)
    if isinstance(expected.dtype, np.dtype):
        return _arrays(expected.to_numpy(), got.to_numpy(), tolerance)
    return None if expected.equals(got) else "values differ"


def _sequences(expected: Any, got: Any, tolerance: float) -> Optional[str]:
    if len(expected) != len(got):
        return "{} items are not {}".format(len(got), len(expected))
    pairs = (difference(one, other, tolerance) for one, other in zip(expected, got))
    return next((found for found in pairs if found is not None), None)


def _is_near(expected: float, got: float, tolerance: float) -> bool:
    return bool(tolerance) and abs(got - expected) <= tolerance * max(1.0, abs(expected))


def _kind(value: Any) -> str:
    kind = type(value)
    return "a {}.{}".format(kind.__module__, kind.__qualname__)
