"""The types of a model signature, read from the JSON that `MLmodel` keeps.

The format is that of MLflow's `mlflow.types.schema`: `inputs` is a list of column
specifications (`{"type": "double", "name": ..., "required": ...}`, nested types `array`,
`object`, `map`, `any`) or of tensor specifications (`{"type": "tensor", "tensor-spec":
{"dtype": ..., "shape": [...]}}`), never both. MLflow 1.x knew neither `required` nor nested types.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np


class SignatureError(ValueError):
    """The model's signature itself is malformed."""


class DataType:
    """One of MLflow's scalar types, with the dtypes that numpy and pandas hold it in."""

    def __init__(self, name: str, numpy: Any, pandas: Any, python: type) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.pandas = np.dtype(pandas)
        self.python = python

    def __repr__(self) -> str:
        return self.name


BOOLEAN = DataType("boolean", bool, bool, bool)
INTEGER = DataType("integer", np.int32, np.int32, int)
LONG = DataType("long", np.int64, np.int64, int)
FLOAT = DataType("float", np.float32, np.float32, float)
DOUBLE = DataType("double", np.float64, np.float64, float)
STRING = DataType("string", str, object, str)
BINARY = DataType("binary", bytes, object, bytes)
DATETIME = DataType("datetime", "datetime64[ns]", "datetime64[ns]", datetime.date)

DATA_TYPES = {
    kind.name: kind for kind in (BOOLEAN, INTEGER, LONG, FLOAT, DOUBLE, STRING, BINARY, DATETIME)
}


@dataclass(frozen=True)
class Array:
    """A list of values of one type."""

    items: Type

    def __repr__(self) -> str:
        return "array of {!r}".format(self.items)


@dataclass(frozen=True)
class Property:
    """One property of an `Object`."""

    name: str
    type: Type
    required: bool

    def __repr__(self) -> str:
        return "{}: {!r}{}".format(self.name, self.type, "" if self.required else " (optional)")


@dataclass(frozen=True)
class Object:
    """A JSON object with known properties."""

    properties: Tuple[Property, ...]

    def __repr__(self) -> str:
        return "object {{{}}}".format(", ".join(map(repr, self.properties)))


@dataclass(frozen=True)
class Map:
    """A JSON object with any keys and values of one type."""

    values: Type

    def __repr__(self) -> str:
        return "map of {!r}".format(self.values)


@dataclass(frozen=True)
class AnyType:
    """Whatever is sent."""

    def __repr__(self) -> str:
        return "any"


Type = Union[DataType, Array, Object, Map, AnyType]


@dataclass(frozen=True)
class Column:
    """A column of a column-based signature.

    :param name: None where columns are unnamed.
    """

    name: Optional[str]
    type: Type
    required: bool


@dataclass(frozen=True)
class Tensor:
    """A tensor of a tensor-based signature.

    :param shape: -1 is a dimension of any length.
    """

    name: Optional[str]
    dtype: np.dtype
    shape: Tuple[int, ...]
    required: bool = True


@dataclass(frozen=True)
class Param:
    """An inference parameter.

    :param shape: None for one value, (-1,) for a list of values.
    """

    name: str
    type: Type
    default: Any
    shape: Optional[Tuple[int, ...]]


class Schema:
    """The inputs of a model: columns or tensors, all named or none."""

    def __init__(self, inputs: Sequence[Union[Column, Tensor]]) -> None:
        if not inputs:
            raise SignatureError("The signature has no inputs.")
        self.inputs = tuple(inputs)
        self.is_tensor = isinstance(inputs[0], Tensor)
        if any(isinstance(spec, Tensor) != self.is_tensor for spec in inputs):
            raise SignatureError("The signature mixes columns and tensors.")
        self.is_named = inputs[0].name is not None
        if any((spec.name is not None) != self.is_named for spec in inputs):
            raise SignatureError("The signature mixes named and unnamed inputs.")
        if self.is_tensor and not self.is_named and len(inputs) > 1:
            raise SignatureError("The signature has more than one tensor and no names.")
        # Unnamed inputs are known by their position, as in MLflow.
        self.names: List[Any] = [spec.name or index for index, spec in enumerate(inputs)]
        self.required_names = [name for name, spec in zip(self.names, inputs) if spec.required]
        self.by_name: Dict[str, Union[Column, Tensor]] = (
            {str(spec.name): spec for spec in inputs} if self.is_named else {}
        )

    @classmethod
    def from_json(cls, inputs: Sequence[Dict[str, Any]]) -> Schema:
        """Read the decoded JSON of a signature.

        :raises SignatureError: it is malformed.
        """
        return cls([_input(document) for document in inputs])

    def __len__(self) -> int:
        return len(self.inputs)


def _input(document: Dict[str, Any]) -> Union[Column, Tensor]:
    kind = document.get("type")
    if kind == "tensor":
        spec = document.get("tensor-spec") or {}
        try:
            dtype, shape = np.dtype(spec["dtype"]), tuple(spec["shape"])
        except (KeyError, TypeError) as error:
            raise SignatureError("A tensor has no usable dtype and shape.") from error
        return Tensor(document.get("name"), dtype, shape)
    # A nested type without `required` is optional in MLflow, a scalar one is required. Before 2.10,
    # which knew no nested types, a scalar one was marked where it is `optional`.
    required = document.get("required", kind in DATA_TYPES and not document.get("optional"))
    return Column(document.get("name"), read_type(document), bool(required))


def read_type(document: Dict[str, Any]) -> Type:
    """Read a type such as {"type": "array", "items": {"type": "long"}}.

    :raises SignatureError: it is not known, or incomplete.
    """
    kind = document.get("type")
    if kind in DATA_TYPES:
        return DATA_TYPES[kind]
    if kind == "any":
        return AnyType()
    if kind == "sparkml_vector":
        return Array(DOUBLE)
    try:
        if kind == "array":
            return Array(read_type(document["items"]))
        if kind == "map":
            return Map(read_type(document["values"]))
        if kind == "object":
            return Object(
                tuple(
                    Property(name, read_type(spec), bool(spec.get("required", True)))
                    for name, spec in sorted(document["properties"].items())
                )
            )
    except (KeyError, AttributeError) as error:
        raise SignatureError("The type {!r} is incomplete.".format(kind)) from error
    raise SignatureError("The type {!r} is not known.".format(kind))


def read_params(documents: Sequence[Dict[str, Any]]) -> List[Param]:
    """Read the `params` of a signature.

    :raises SignatureError: one has a type that cannot be read.
    """
    params = []
    for document in documents:
        # MLflow 2.6 wrote `dtype` for what later versions call `type`.
        kind = document.get("type") or document.get("dtype")
        shape = document.get("shape")
        params.append(
            Param(
                name=str(document["name"]),
                type=read_type(dict(document, type=kind)),
                default=document.get("default"),
                shape=None if shape is None else tuple(shape),
            )
        )
    return params
