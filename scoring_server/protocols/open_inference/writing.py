"""The model's answer as output tensors, by its own type as MLServer does it, in JSON and binary."""

from __future__ import annotations

import base64
import datetime
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from ...errors import ScoringError, quote
from ...formats.encoding import dumps, top_level
from .binary import write_elements, write_numbers
from .datatypes import (
    ARRAY,
    BASE64,
    BYTES,
    DICT,
    JSON,
    OUTPUT_PREFIX,
    TABLE,
    TEXT,
    TIME,
    datatype_of,
)
from .requests import BINARY_SIZE, Wanted

# What the one output of an answer without names is called: MLServer counts these from 1, those of
# the metadata from 0.
ONLY_OUTPUT = OUTPUT_PREFIX + "1"


class Output(NamedTuple):
    """An output tensor: `values` is an array, or a list of elements of BYTES (texts or bytes)."""

    name: str
    shape: List[int]
    datatype: str
    content_type: Optional[str]
    values: Any

    def data(self) -> List[Any]:
        """The elements for JSON."""
        if isinstance(self.values, np.ndarray):
            flat: List[Any] = self.values.ravel().tolist()
            return flat
        if self.content_type == BASE64:
            return [base64.b64encode(each).decode("ascii") for each in self.values]
        return list(self.values)

    def binary(self) -> bytes:
        """The elements as bytes."""
        if isinstance(self.values, np.ndarray):
            return write_numbers(self.values, self.datatype)
        return write_elements(
            each if isinstance(each, bytes) else (each or "").encode("utf-8", "replace")
            for each in self.values
        )


def outputs_of(predictions: Any) -> Tuple[str, List[Output]]:
    """The content type of an answer and its outputs.

    :raises ScoringError: it cannot be encoded (INTERNAL_ERROR).
    """
    if isinstance(predictions, pd.Series):
        named = predictions.name is not None
        return TABLE, [_column(str(predictions.name) if named else ONLY_OUTPUT, predictions)]
    if isinstance(predictions, pd.DataFrame):
        names = predictions.columns
        return TABLE, [
            _column(str(name), predictions.iloc[:, place]) for place, name in enumerate(names)
        ]
    is_named = isinstance(predictions, dict) and len(predictions) > 0
    if is_named and all(isinstance(each, np.ndarray) for each in predictions.values()):
        return DICT, [_array(str(name), each) for name, each in predictions.items()]
    if hasattr(predictions, "toarray"):
        predictions = predictions.toarray()
    if isinstance(predictions, np.ndarray):
        return ARRAY, [_array(ONLY_OUTPUT, predictions)]
    values = list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]
    return _from_list(values)


def _from_list(values: List[Any]) -> Tuple[str, List[Output]]:
    array = _numbers(values)
    if array is not None:
        return ARRAY, [_array(ONLY_OUTPUT, array)]
    output = _elements(ONLY_OUTPUT, [len(values)], values)
    return output.content_type or JSON, [output]


def _numbers(values: List[Any]) -> Optional[np.ndarray]:
    """Numbers, or rows of them, as an array; None where they are none."""
    first = values[0] if values else 0.0
    if not isinstance(first, (bool, int, float, np.generic, np.ndarray, list, tuple)):
        return None
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in "biuf" else None


def _array(name: str, values: np.ndarray) -> Output:
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    datatype = datatype_of(values.dtype)
    shape = _with_columns(values.shape)
    if datatype != BYTES:
        return Output(name, shape, datatype, ARRAY, values)
    flat = values.ravel()
    elements = pd.Series(flat).tolist() if values.dtype.kind == "M" else flat.tolist()
    output = _elements(name, shape, elements)
    return output._replace(content_type=ARRAY) if output.content_type == TEXT else output


def _column(name: str, values: pd.Series) -> Output:
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype):
        array = values.to_numpy()
    elif isinstance(getattr(dtype, "numpy_dtype", None), np.dtype):
        # Where values are missing, numpy has only floats for them.
        has_all = not values.isna().any()
        array = values.to_numpy(dtype.numpy_dtype) if has_all else _with_nan(values)
    else:
        array = np.asarray(values)
    datatype = datatype_of(array.dtype)
    if datatype == BYTES:
        return _elements(name, [len(values)], values.tolist())
    return Output(name, [len(values), 1], datatype, None, array)


def _with_nan(values: pd.Series) -> np.ndarray:
    return np.array([np.nan if missing else each for each, missing in zip(values, values.isna())])


def _elements(name: str, shape: Sequence[int], elements: List[Any]) -> Output:
    """Elements of BYTES: texts, bytes, times, or else a JSON text each."""
    kinds = set(map(type, elements))
    content_type = TEXT
    if kinds == {bytes}:
        content_type = BASE64
    elif kinds and all(_is_time(kind) for kind in kinds):
        content_type = TIME
        elements = [None if each is pd.NaT else each.isoformat() for each in elements]
    elif not all(issubclass(kind, str) for kind in kinds):
        content_type = JSON
        elements = [dumps(top_level(each)).decode("utf-8") for each in elements]
    return Output(name, _with_columns(shape), BYTES, content_type, elements)


def _is_time(kind: type) -> bool:
    return issubclass(kind, datetime.date) or kind is type(pd.NaT)


def _with_columns(shape: Sequence[int]) -> List[int]:
    """The shape with a second dimension: MLServer's clients take [N] for [N, 1]."""
    return [*shape, 1] if len(shape) < 2 else list(shape)


def choose(
    outputs: List[Output], wanted: Optional[List[Wanted]], described: Sequence[str], is_binary: bool
) -> List[Tuple[Output, bool]]:
    """The outputs that are wanted, and whether each is to be binary.

    :param described: what the metadata calls the outputs: an answer's only one has this name, too.
    :raises ScoringError: the answer has not got one.
    """
    if wanted is None:
        return [(each, is_binary) for each in outputs]
    by_name = {each.name: each for each in outputs}
    if len(outputs) == 1 and len(described) <= 1:
        for name in [*described, OUTPUT_PREFIX + "0"]:
            by_name.setdefault(name, outputs[0]._replace(name=name))
    chosen = []
    for each in wanted:
        output = by_name.get(each.name)
        if output is None:
            names = ", ".join(quote(known.name) for known in outputs)
            raise ScoringError(
                "The model's answer has no output {}; it has {}.".format(quote(each.name), names)
            )
        chosen.append((output, each.is_binary))
    return chosen


def encode(head: Dict[str, Any], outputs: List[Tuple[Output, bool]]) -> Tuple[bytes, List[bytes]]:
    """The JSON of an answer, and the binary tensors that follow it.

    :param head: the members before the outputs.
    """
    documents, binary = [], []
    for output, is_binary in outputs:
        document: Dict[str, Any] = {
            "name": output.name,
            "shape": output.shape,
            "datatype": output.datatype,
        }
        parameters: Dict[str, Any] = {}
        if output.content_type is not None:
            parameters["content_type"] = output.content_type
        if is_binary:
            binary.append(output.binary())
            parameters[BINARY_SIZE] = len(binary[-1])
            # Binary, bytes are what they are.
            if output.content_type == BASE64:
                del parameters["content_type"]
        if parameters:
            document["parameters"] = parameters
        if not is_binary:
            document["data"] = output.data()
        documents.append(document)
    return dumps({**head, "outputs": documents}), binary


def new_id() -> str:
    """An identifier for a request that has none."""
    return os.urandom(16).hex()
