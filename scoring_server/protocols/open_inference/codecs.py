"""A tensor's elements decoded: numbers into arrays, BYTES as their content type says."""

from __future__ import annotations

import base64
import binascii
import math
from itertools import chain
from typing import Any, Callable, Dict, List, Optional, Union

import numpy as np
import pandas as pd

from ...errors import ScoringError, quote, type_name
from ...formats import json_body
from ...signature.casting import compile_cast
from ...signature.schema import DATETIME, Column
from .binary import read_elements, read_numbers
from .datatypes import BASE64, BYTES, JSON, NATIVE, TEXT, TIME
from .requests import Tensor

# An array of a tensor's shape, or a flat list of elements of BYTES.
Values = Union[np.ndarray, List[Any]]

_parse_times: Callable[[pd.Series], pd.Series] = compile_cast(  # type: ignore[assignment]
    Column(None, DATETIME, True)
)


def decode(tensor: Tensor, content_type: Optional[str]) -> Values:
    """Decode a tensor.

    Texts are the default of BYTES; bytes that are no text stay bytes.

    :param content_type: what its elements stand for, None where nothing says it.
    :raises ScoringError: its elements are not what its datatype, shape or content type says.
    """
    if tensor.datatype != BYTES:
        flat = read_numbers(tensor) if tensor.raw is not None else _numbers(tensor)
        return flat.reshape(tensor.shape)
    if tensor.raw is not None:
        elements: List[Any] = read_elements(tensor)
        # What is binary needs no base64, unless the client says that it has it.
        if content_type == BASE64 and tensor.content_type != BASE64:
            return elements
    else:
        elements = _elements(tensor, is_json=content_type == JSON)
    decoder: Any = _DECODERS.get(content_type, _texts_or_bytes)
    try:
        decoded: Values = decoder(elements)
    except ScoringError as error:
        raise tensor.problem("an element is no JSON.") from error
    except (UnicodeDecodeError, ValueError, TypeError, OverflowError) as error:
        raise tensor.problem("it cannot be read: {}.".format(error)) from error
    return decoded


# --- JSON ----------------------------------------------------------------------------------------


def _numbers(tensor: Tensor) -> np.ndarray:
    """The numbers of a JSON list as an array of the tensor's datatype; integers stay exact."""
    dtype = NATIVE[tensor.datatype]
    flat = _flat(tensor)
    if dtype.kind == "f" and _are_all_numbers(flat):
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64).astype(dtype, copy=False)
    kinds = set(map(type, flat))
    allowed = _ALLOWED[dtype.kind]
    if not kinds <= allowed:
        names = sorted({type_name(kind()) for kind in kinds - allowed})
        raise tensor.problem("{} cannot hold {}.".format(tensor.datatype, ", ".join(names)))
    try:
        if dtype == np.float64:
            return np.array(flat, dtype)
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return np.array(flat, np.float64).astype(dtype, copy=False)
        return _integers(flat, kinds, dtype)
    except (ValueError, OverflowError) as error:
        problem = "{} cannot hold all of the numbers.".format(tensor.datatype)
        raise tensor.problem(problem) from error


def _are_all_numbers(flat: List[Any]) -> bool:
    """Whether JSON values are numbers that are not too large: nothing else has a sum.

    Five times as fast as to look at the type of each.
    """
    try:
        return math.isfinite(sum(flat))
    except (TypeError, OverflowError):
        return False


_ALLOWED: Dict[str, Any] = {
    # JSON has no NaN: null stands for it.
    "f": {float, int, bool, type(None)},
    "i": {int, bool, float},
    "u": {int, bool, float},
    "b": {bool, int},
}


def _integers(flat: List[Any], kinds: Any, dtype: np.dtype) -> np.ndarray:
    """The integers (or booleans) as an array; `ValueError` or `OverflowError` where one is none."""
    if float in kinds:
        if not all(type(each) is int or float(each).is_integer() for each in flat):
            raise ValueError
        flat = [int(each) for each in flat]
    if dtype == np.uint64:
        # Releases of numpy before 2 wrap negative numbers.
        if flat and min(flat) < 0:
            raise OverflowError
        return np.array(flat, dtype)
    array = np.array(flat, np.int64)
    if dtype.kind == "b":
        least, most = 0, 1
    else:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if len(array) and not (least <= array.min() and array.max() <= most):
        raise OverflowError
    return array.astype(dtype)


def _elements(tensor: Tensor, *, is_json: bool) -> List[Any]:
    """The elements of BYTES in JSON; for the content type `pd_json` any value, else texts."""
    # What stands for JSON may be a list itself.
    flat = _flat(tensor, keep=is_json)
    if not is_json and not set(map(type, flat)) <= {str, type(None)}:
        wrong = next(each for each in flat if not isinstance(each, (str, type(None))))
        raise tensor.problem("BYTES in JSON are texts, got {}.".format(quote(wrong)))
    return flat


def _flat(tensor: Tensor, *, keep: bool = False) -> List[Any]:
    """The elements, row by row, of data that may be nested.

    :param keep: leave lists alone once there are as many elements as the shape has.
    """
    level = tensor.data if isinstance(tensor.data, list) else [tensor.data]
    while level and isinstance(level[0], list) and not (keep and len(level) == tensor.size):
        if set(map(type, level)) != {list} or len(set(map(len, level))) != 1:
            raise tensor.problem("its rows differ in length.")
        level = list(chain.from_iterable(level))
    if len(level) != tensor.size:
        message = "the shape {} has {} elements, the data {}."
        raise tensor.problem(message.format(list(tensor.shape), tensor.size, len(level)))
    return level


# --- what elements of BYTES stand for ------------------------------------------------------------


def _text(element: Any) -> Any:
    return element.decode("utf-8") if isinstance(element, bytes) else element


def _texts(elements: List[Any]) -> List[Any]:
    return [_text(each) for each in elements]


def _texts_or_bytes(elements: List[Any]) -> List[Any]:
    try:
        return _texts(elements)
    except UnicodeDecodeError:
        return elements


def _from_base64(elements: List[Any]) -> List[Any]:
    return [None if each is None else _bytes(each) for each in elements]


def _bytes(element: Any) -> bytes:
    """The bytes of base64; as in MLServer, what is not base64 stands for itself."""
    data = element.encode("utf-8") if isinstance(element, str) else element
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return data


def _times(elements: List[Any]) -> Any:
    return _parse_times(pd.Series(_texts(elements), dtype=object)).to_numpy()


def _from_json(elements: List[Any]) -> List[Any]:
    return [
        json_body.loads(each.encode("utf-8") if isinstance(each, str) else each)
        if isinstance(each, (str, bytes))
        else each
        for each in elements
    ]


_DECODERS: Dict[Optional[str], Callable[[List[Any]], Any]] = {
    TEXT: _texts,
    BASE64: _from_base64,
    TIME: _times,
    JSON: _from_json,
}
