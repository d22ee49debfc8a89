"""A request that works for a model, made from its input example or its signature."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from launcher.model.mlmodel import Model

# A command line longer than this is no help to anyone.
_LONGEST = 1500
_ROWS = 2

_SCALARS: dict[str, Any] = {
    "boolean": False,
    "integer": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "string": "a",
    "binary": "YQ==",
    "datetime": "2024-01-31T12:00:00",
}


def curl_line(model: Model, url: str) -> str | None:
    """The ``curl`` command that gets a prediction of this model, or None if none is known.

    :param url: where it is served; a unix socket is left to curl's options.
    """
    body = example_request(model)
    if body is None:
        return None
    data = shlex.quote(json.dumps(body))
    if url.startswith("unix:"):
        url = "http://localhost"
    return f"curl {url}/invocations -H 'Content-Type: application/json' -d {data}"


def example_request(model: Model) -> Any:
    """A request body (JSON values) for ``/invocations``, or None where nothing tells its shape."""
    if model.example is not None:
        body = _shortened(model.example)
        if len(json.dumps(body)) <= _LONGEST:
            return body
    inputs = (model.signature or {}).get("inputs")
    body = _from_schema(inputs) if isinstance(inputs, list) and inputs else None
    return body if body is not None and len(json.dumps(body)) <= _LONGEST else None


def _shortened(body: Any) -> Any:
    """The same request with its first rows only."""
    if not isinstance(body, dict):
        return body
    short = dict(body)
    split = short.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        kept = {name: value for name, value in split.items() if name != "index"}
        short["dataframe_split"] = {**kept, "data": split["data"][:_ROWS]}
    for form in ("dataframe_records", "instances", "inputs"):
        if isinstance(short.get(form), list):
            short[form] = short[form][:_ROWS]
    return short


def _from_schema(inputs: list[Mapping[str, Any]]) -> Any:
    if inputs[0].get("type") == "tensor":
        if "name" in inputs[0]:
            return {"inputs": {str(each["name"]): _tensor(each) for each in inputs}}
        return {"inputs": _tensor(inputs[0])}
    if any("name" not in each for each in inputs):
        values = [_value(each) for each in inputs]
        return {"inputs": values}
    columns = [each["name"] for each in inputs]
    return {"dataframe_split": {"columns": columns, "data": [[_value(each) for each in inputs]]}}


def _tensor(spec: Mapping[str, Any]) -> Any:
    tensor = spec.get("tensor-spec", {})
    shape = [1 if size < 0 else size for size in tensor.get("shape", [])]
    if math.prod(shape) > _LONGEST:
        return None
    kind = str(tensor.get("dtype", ""))
    value: Any = "a" if kind in ("str", "object") or kind[:2] == "<U" else 0
    value = 0.0 if kind.startswith("float") else False if kind == "bool" else value
    for size in reversed(shape):
        value = [value] * size
    return value


def _value(spec: Mapping[str, Any]) -> Any:
    kind = spec.get("type")
    if kind == "array":
        return [_value(spec.get("items", {}))]
    if kind == "object":
        return {name: _value(each) for name, each in spec.get("properties", {}).items()}
    if kind == "map":
        return {"key": _value(spec.get("values", {}))}
    return _SCALARS.get(str(kind), "a")
