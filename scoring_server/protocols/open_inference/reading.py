"""The tensors of a request put together to the model's input, as the signature wants them.

What a request is read as follows MLServer 1.7: the content type of an input, then that of the
request, then what the signature says. Without any of them one tensor is an array, several with a
value a row are a table, and others a dict of arrays.
"""

from __future__ import annotations

import itertools
import operator
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import pandas as pd

from ...errors import ScoringError, quote, schema_error
from ...signature.number_rows import NumberRows
from ...signature.schema import DataType
from ...signature.schema import Tensor as TensorSpec
from ...signature.signature import Signature
from .codecs import Values, decode
from .datatypes import ARRAY, DICT, INPUT_PREFIX, TABLE, content_type_of, describe
from .requests import Tensor

TOO_LARGE = 413


class Decoded:
    """The model's input of one request; `fits` as in `ModelInput`."""

    def __init__(self, data: Any, fits: bool = False) -> None:
        self.data = data
        self.fits = fits


class InputReader:
    """Makes the model's input for one signature.

    :param max_decoded: how many bytes a tensor of texts or lists may take.
    """

    def __init__(self, signature: Signature, max_decoded: int) -> None:
        schema = signature.schema
        self.signature = signature
        self._schema = schema
        self._max_decoded = max_decoded
        described = [] if schema is None else describe(schema, INPUT_PREFIX)
        self._content_type = content_type_of(schema)
        self._content_types = {each.name: each.content_type for each in described}
        # Making one takes as long as decoding some columns.
        self._index = None if schema is None else pd.Index(schema.names)
        self._specs: Dict[str, Any] = (
            {}
            if schema is None
            else {each.name: spec for each, spec in zip(described, schema.inputs)}
        )

    def read(self, inputs: Sequence[Tensor], content_type: Optional[str]) -> Decoded:
        """The model's input.

        :param content_type: the request's own.
        :raises ScoringError: the inputs do not fit together, or cannot be decoded.
        """
        wanted = content_type or self._content_type or self._guess(inputs)
        if wanted == TABLE:
            decoded = self._table(inputs)
            return Decoded(_rows(decoded.data)) if self.signature.from_type_hint else decoded
        if wanted == DICT:
            return Decoded({each.name: self._array(each) for each in inputs})
        if len(inputs) != 1:
            message = "Expected one input for the content type {}, got {}."
            raise ScoringError(message.format(wanted, len(inputs)))
        if wanted == ARRAY:
            return Decoded(self._array(inputs[0]))
        return Decoded(_listed(self._decode(inputs[0], wanted)))

    def _guess(self, inputs: Sequence[Tensor]) -> str:
        is_table = all(each.size == each.rows == inputs[0].rows for each in inputs)
        # A model that takes nothing but tables gets one whose column has the tensor's name.
        if len(inputs) == 1 and not (is_table and self.signature.keeps_values):
            return ARRAY
        return TABLE if is_table else DICT

    def _decode(self, tensor: Tensor, otherwise: Optional[str] = None) -> Values:
        known = self._content_types.get(tensor.name)
        return decode(tensor, tensor.content_type or known or otherwise)

    # --- arrays --------------------------------------------------------------------------------

    def _array(self, tensor: Tensor) -> np.ndarray:
        spec: Any = self._spec_of(tensor)
        dtype = spec.dtype if isinstance(spec, TensorSpec) else None
        values = self._decode(tensor)
        if isinstance(values, list):
            values = self._array_of_elements(tensor, values, dtype)
        elif dtype is not None:
            values = _safely(values, dtype)
        return values.reshape(tensor.shape)

    def _spec_of(self, tensor: Tensor) -> Any:
        schema = self._schema
        if schema is not None and schema.is_tensor and not schema.is_named:
            return schema.inputs[0]
        return self._specs.get(tensor.name)

    def _array_of_elements(
        self, tensor: Tensor, elements: List[Any], dtype: Optional[np.dtype]
    ) -> np.ndarray:
        kind = "U" if dtype is None else dtype.kind
        if kind == "S":
            elements = [
                each.encode("utf-8") if isinstance(each, str) else each for each in elements
            ]
        only: Dict[str, Any] = {"U": {str}, "S": {bytes}}
        if kind in only and only[kind].issuperset(map(type, elements)):
            # Each takes the place of the longest.
            longest = max(map(len, elements), default=0)
            self._check(tensor, len(elements) * longest * (4 if kind == "U" else 1))
            return np.array(elements, kind)
        array = _objects(elements)
        if kind == "M" and dtype is not None:
            try:
                return array.astype(dtype)
            except (ValueError, TypeError) as error:
                raise tensor.problem("it cannot be read as {}: {}.".format(dtype, error)) from error
        return array

    def _check(self, tensor: Tensor, size: int) -> None:
        """Refuse what would take more bytes than a body may decode to."""
        if size > self._max_decoded:
            message = "it decodes to more than {} bytes.".format(self._max_decoded)
            raise ScoringError(tensor.problem(message).message, status=TOO_LARGE)

    # --- tables --------------------------------------------------------------------------------

    def _table(self, inputs: Sequence[Tensor]) -> Decoded:
        schema = self._schema
        if schema is not None and schema.is_named:
            by_name = {each.name: each for each in inputs}
            # What the signature does not know is not looked at.
            inputs = [by_name[name] for name in schema.names if name in by_name]
            if not inputs:
                message = "None of the signature's inputs {} was sent."
                raise schema_error(message.format(quote(schema.names)))
        elif schema is not None:
            inputs = self._in_order(inputs)
        if len({each.rows for each in inputs}) > 1:
            rows = {each.name: each.rows for each in inputs}
            raise ScoringError("The inputs differ in their number of rows: {}.".format(quote(rows)))
        columns = [self._column(each) for each in inputs]
        names: List[Any] = [each.name for each in inputs]
        if schema is not None and not schema.is_named:
            # As in the other formats: unnamed columns are known by their position.
            names = list(range(len(names)))
        is_whole = schema is not None and names == schema.names
        index = self._index if is_whole and self._index is not None else pd.Index(names)
        fits = is_whole and self._fits(columns)
        if fits and self.signature.keeps_numbers:
            arrays: Any = columns
            return Decoded(NumberRows(index, arrays=arrays), fits)
        return Decoded(_frame(index, columns), fits)

    def _in_order(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Nameless columns by their numbers where all have one, else as they were sent."""
        places = {name: place for place, name in enumerate(self._specs)}
        if all(each.name in places for each in inputs):
            return sorted(inputs, key=lambda each: places[each.name])
        return inputs

    def _column(self, tensor: Tensor) -> Values:
        """One value a row: an array of one dimension, or a list."""
        spec = self._specs.get(tensor.name)
        values = self._decode(tensor)
        if tensor.size != tensor.rows:
            # Each cell is a list, and so are its parts; an empty list takes some 60 bytes.
            lists = itertools.accumulate(tensor.shape[:-1], operator.mul)
            self._check(tensor, 60 * sum(lists) + 8 * tensor.size)
            array = values if isinstance(values, np.ndarray) else _objects(values)
            cells: List[Any] = array.reshape(tensor.shape).tolist()
            return cells
        if isinstance(values, list):
            return values
        values = values.reshape(tensor.rows)
        kind = getattr(spec, "type", None)
        # What is not safe is for the signature to refuse.
        return _safely(values, kind.numpy) if isinstance(kind, DataType) else values

    def _fits(self, columns: List[Values]) -> bool:
        """Whether the table of all columns is what the signature would make of it."""
        # Only signatures of numbers and texts have plain rows.
        if self.signature.plain_rows is None or self._schema is None:
            return False
        return all(
            _is_plain(values, getattr(spec, "type", None))
            for values, spec in zip(columns, self._schema.inputs)
        )


def _safely(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers in the wanted dtype where numpy calls that safe, else as they are."""
    if values.dtype == dtype or dtype.kind not in "iufb" or not np.can_cast(values.dtype, dtype):
        return values
    return values.astype(dtype)


def _is_plain(values: Values, kind: Any) -> bool:
    if isinstance(values, np.ndarray):
        return len(values) > 0 and values.dtype == kind.pandas
    return kind.pandas == object and set(map(type, values)) == {str}


def _frame(names: pd.Index, columns: List[Values]) -> pd.DataFrame:
    dtypes = {each.dtype if isinstance(each, np.ndarray) else None for each in columns}
    dtype = dtypes.pop()
    if not dtypes and dtype is not None and dtype.kind in "fiub":
        # In one step, and column after column in memory as pandas lays them out.
        block = np.empty((len(columns[0]), len(columns)), dtype, order="F")
        for place, values in enumerate(columns):
            block[:, place] = values
        return pd.DataFrame(block, columns=names, copy=False)
    return pd.DataFrame(dict(zip(names, columns)), copy=False)


def _rows(frame: pd.DataFrame) -> Any:
    """What a model whose signature comes from type hints takes: values, or records of them."""
    names: Any = list(frame.columns)
    if names == [0]:
        return frame[0].tolist()
    return frame.to_dict(orient="records")


def _objects(elements: List[Any]) -> np.ndarray:
    array = np.empty(len(elements), object)
    # One by one: numpy would look into elements that are lists.
    for place, each in enumerate(elements):
        array[place] = each
    return array


def _listed(values: Values) -> List[Any]:
    return values if isinstance(values, list) else values.tolist()
