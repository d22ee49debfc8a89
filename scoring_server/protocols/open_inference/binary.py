"""Triton's binary tensors: the elements as bytes, little-endian, behind the JSON of a body.

The format: "Binary Tensor Data Extension" of Triton Inference Server's protocol documentation.
"""

from __future__ import annotations

import struct
from typing import Any, Iterable, List

import numpy as np

from .datatypes import DTYPES, NATIVE
from .requests import Tensor

# Before each element of BYTES: its length.
_LENGTH = struct.Struct("<I")


def read_numbers(tensor: Tensor) -> np.ndarray:
    """The flat array of a tensor that is not BYTES.

    It is one copy of the bytes, so that it is aligned and the model may write to it.

    :raises ScoringError: the bytes are not as many as its shape takes.
    """
    raw: Any = tensor.raw
    dtype = DTYPES[tensor.datatype]
    _check_size(tensor, tensor.size * dtype.itemsize, exact=True)
    if tensor.datatype == "BOOL":
        return np.frombuffer(raw, "u1") != 0
    return np.frombuffer(raw, dtype).astype(NATIVE[tensor.datatype], copy=True)


def read_elements(tensor: Tensor) -> List[bytes]:
    """The elements of a tensor of BYTES.

    :raises ScoringError: their lengths are not those of its bytes.
    """
    raw: Any = tensor.raw
    _check_size(tensor, tensor.size * _LENGTH.size, exact=False)
    elements, at, end = [], 0, len(raw)
    for _ in range(tensor.size):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw, at)[0] if start <= end else end + 1
        if at > end:
            raise tensor.problem("its bytes end within an element.")
        elements.append(bytes(raw[start:at]))
    if at != end:
        raise tensor.problem("it has {} bytes after its last element.".format(end - at))
    return elements


def _check_size(tensor: Tensor, wanted: int, *, exact: bool) -> None:
    size = 0 if tensor.raw is None else len(tensor.raw)
    if size < wanted or (exact and size > wanted):
        message = "the shape {} of {} takes {}{} bytes, got {}."
        least = "" if exact else "at least "
        raise tensor.problem(
            message.format(list(tensor.shape), tensor.datatype, least, wanted, size)
        )


def write_numbers(values: np.ndarray, datatype: str) -> bytes:
    """The bytes of an array, row by row."""
    return values.astype(DTYPES[datatype], copy=False).tobytes()


def write_elements(elements: Iterable[bytes]) -> bytes:
    """The bytes of elements of BYTES."""
    pack = _LENGTH.pack
    return b"".join([piece for each in elements for piece in (pack(len(each)), each)])
