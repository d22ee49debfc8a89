"""What a signature takes, as JSON Schema (2020-12).

A type has two schemas. The exact one is what clients should send, and what code is generated from.
The accepted one is what is read besides, since values are cast as MLflow casts them: it lets all
through that the server answers, and some of what it refuses.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from .params import Params
from .schema import (
    BINARY,
    BOOLEAN,
    DATETIME,
    DOUBLE,
    FLOAT,
    INTEGER,
    LONG,
    STRING,
    AnyType,
    Array,
    Column,
    DataType,
    Map,
    Object,
    Param,
    Tensor,
)

JsonSchema = Dict[str, Any]

ANYTHING: JsonSchema = {}
_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
# Texts that may be numbers: what comes after the first digit is for the cast to judge.
_NUMERIC_TEXT = r"^\s*[+-]?(?:[.]?\d|[iI][nN][fF]|[nN][aA][nN])"
_SCALARS = ["number", "boolean", "string"]

_EXACT: Dict[DataType, JsonSchema] = {
    BOOLEAN: {"type": "boolean"},
    INTEGER: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    LONG: {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    FLOAT: {"type": "number", "format": "float"},
    DOUBLE: {"type": "number", "format": "double"},
    STRING: {"type": "string"},
    BINARY: {"type": "string", "contentEncoding": "base64", "pattern": _BASE64},
    DATETIME: {"type": "string", "format": "date-time"},
}
_SAMPLES: Dict[DataType, Any] = {
    BOOLEAN: True,
    INTEGER: 1,
    LONG: 1,
    FLOAT: 0.5,
    DOUBLE: 0.5,
    STRING: "a",
    BINARY: "YQ==",
    DATETIME: "2024-01-31T12:00:00Z",
}


def exact(kind: Any, required: bool = True) -> JsonSchema:
    """The schema of one value of a type that clients should send.

    :param kind: a `Type`.
    :param required: whether it must be there; where not, it may be null.
    """
    if isinstance(kind, DataType):
        # Integers have no value that stands for a missing one.
        schema = dict(_EXACT[kind])
        return schema if required or kind in (INTEGER, LONG) else _nullable(schema)
    if isinstance(kind, Array):
        schema = {"type": "array", "items": exact(kind.items)}
    elif isinstance(kind, Map):
        schema = {"type": "object", "additionalProperties": exact(kind.values)}
    elif isinstance(kind, Object):
        schema = {
            "type": "object",
            "properties": {each.name: exact(each.type, each.required) for each in kind.properties},
            "required": [each.name for each in kind.properties if each.required],
            "additionalProperties": False,
        }
    else:
        return ANYTHING
    return schema if required else _nullable(schema)


def accepted(kind: Any, required: bool = True) -> JsonSchema:
    """The schema of all values that a column of a type is made of; parameters as for `exact`."""
    if kind in (BOOLEAN, STRING):
        return ANYTHING
    if kind is BINARY:
        return {"type": "string"} if required else {"type": ["string", "null"]}
    if kind is DATETIME:
        return {"type": ["string", "number", "null"]}
    if isinstance(kind, DataType):
        types = _SCALARS if kind in (INTEGER, LONG) else [*_SCALARS, "null"]
        return {"type": types, "pattern": _NUMERIC_TEXT}
    return _accepted_inside(kind, required)


def _accepted_inside(kind: Any, required: bool) -> JsonSchema:
    """The same for what is inside an array, an object or a map."""
    if isinstance(kind, DataType):
        schema: JsonSchema = {"type": _SCALARS}
    elif isinstance(kind, Array):
        # Scalars in an array are one column of pandas', which takes much.
        is_deep = not isinstance(kind.items, DataType)
        items = _accepted_inside(kind.items, required) if is_deep else ANYTHING
        schema = {"type": "array", "items": items}
    elif isinstance(kind, Map):
        values = _accepted_inside(kind.values, required)
        schema = {"type": "object", "additionalProperties": values}
    elif isinstance(kind, Object):
        schema = {
            "type": "object",
            "properties": {
                each.name: _accepted_inside(each.type, each.required) for each in kind.properties
            },
            "additionalProperties": False,
        }
        if required:
            schema["required"] = [each.name for each in kind.properties if each.required]
    else:
        return ANYTHING
    may_be_null = not required or isinstance(getattr(kind, "items", None), AnyType)
    may_be_null = may_be_null or isinstance(getattr(kind, "values", None), AnyType)
    return _nullable(schema) if may_be_null else schema


def _nullable(schema: JsonSchema) -> JsonSchema:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*types, "null"]}


# --- tensors -------------------------------------------------------------------------------------


def element(dtype: np.dtype) -> JsonSchema:
    """The schema of an element of a tensor that clients should send."""
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(bounds.min), "maximum": int(bounds.max)}
    if dtype.kind == "f":
        return {"type": "number"}
    return {"type": "string"} if dtype.kind in "USM" else ANYTHING


def accepted_element(dtype: np.dtype) -> JsonSchema:
    """The schema of all that an element is made of."""
    return {"type": [*_SCALARS, "null"]} if dtype.kind in "iuf" else ANYTHING


def nested(items: JsonSchema, shape: Sequence[int]) -> JsonSchema:
    """The schema of lists of lists of items.

    :param shape: -1 is a dimension of any length.
    """
    schema = items
    for place in range(len(shape) - 1, -1, -1):
        size = shape[place]
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema.update(minItems=size, maxItems=size)
        elif place < len(shape) - 1:
            # Without rows there would be no telling how long they are.
            schema["minItems"] = 1
    return schema


def tensor(spec: Tensor) -> JsonSchema:
    """The schema of a whole tensor that clients should send."""
    return nested(element(spec.dtype), spec.shape)


def accepted_tensor(spec: Tensor) -> JsonSchema:
    """The schema of all that a whole tensor is made of."""
    if spec.dtype.kind not in "iufb":
        return {"type": [*_SCALARS, "array", "null"]}
    return nested(accepted_element(spec.dtype), spec.shape)


# --- params --------------------------------------------------------------------------------------


def params_properties(params: Params) -> Dict[str, JsonSchema]:
    """The schema of each parameter, by name."""
    return {spec.name: _param(spec) for spec in params.specs or ()}


def _param(spec: Param) -> JsonSchema:
    if spec.shape == (-1,):
        schema: JsonSchema = {"type": "array", "items": _param_value(spec.type)}
    elif isinstance(spec.type, DataType):
        schema = _param_value(spec.type)
    else:
        schema = exact(spec.type)
    return schema if spec.default is None else {**schema, "default": spec.default}


def _param_value(kind: Any) -> JsonSchema:
    if kind is DATETIME:
        return {"type": ["string", "null"], "description": "A date or a time in ISO 8601."}
    if not isinstance(kind, DataType):
        return exact(kind)
    return _nullable({"type": _EXACT[kind]["type"]})


# --- samples -------------------------------------------------------------------------------------


def sample(kind: Any) -> Any:
    """A small value of a type, for examples."""
    if isinstance(kind, DataType):
        return _SAMPLES[kind]
    if isinstance(kind, Array):
        return [sample(kind.items)]
    if isinstance(kind, Object):
        return {each.name: sample(each.type) for each in kind.properties}
    return {"key": sample(kind.values)} if isinstance(kind, Map) else {}


def sample_tensor(spec: Tensor) -> Any:
    """A small tensor, for examples."""
    values: Dict[str, Any] = {"b": True, "i": 1, "u": 1, "f": 0.5, "M": "2024-01-31"}
    value = values.get(spec.dtype.kind, "a")
    for size in reversed(spec.shape):
        value = [value] * (1 if size < 0 else size)
    return value


# --- answers -------------------------------------------------------------------------------------


def answer(outputs: Sequence[Any]) -> JsonSchema:
    """The schema of the model's answer as JSON, from the outputs of its signature.

    :param outputs: columns or tensors. Any value may be missing, which is null.
    """
    if isinstance(outputs[0], Tensor):
        if outputs[0].name is None:
            return _answered_tensor(outputs[0])
        return {
            "type": "object",
            "properties": {str(each.name): _answered_tensor(each) for each in outputs},
        }
    if any(each.name is None for each in outputs):
        return {"type": "array"} if len(outputs) > 1 else _answered_list(outputs[0])
    row = {"type": "object", "properties": {each.name: _answered(each) for each in outputs}}
    return {"type": "array", "items": row}


def _answered_tensor(spec: Tensor) -> JsonSchema:
    leaf = {"i": "integer", "u": "integer", "f": "number", "b": "boolean"}.get(spec.dtype.kind)
    items = ANYTHING if leaf is None else {"type": [leaf, "null"]}
    return nested(items, [-1] * len(spec.shape)) if len(spec.shape) == 1 else {"type": "array"}


def _answered_list(spec: Column) -> JsonSchema:
    return {"type": "array", "items": _answered(spec)}


def _answered(spec: Column) -> JsonSchema:
    kind = spec.type
    if isinstance(kind, DataType):
        return _nullable({"type": _EXACT[kind]["type"]})
    return ANYTHING


def names_of(inputs: Sequence[Any]) -> List[str]:
    """The names of the inputs that must be there."""
    return [str(each.name) for each in inputs if each.required]
