"""A signature's columns and params, each as a name and its type in words.

The format is MLflow's: https://mlflow.org/docs/latest/ml/model/signatures/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def columns(schema: Any) -> dict[str, str]:
    """Return the types of a schema's columns or tensors (``inputs`` or ``outputs``).

    :param schema: the decoded list, or None. What has no name goes by its place: "column 1".
    """
    rows = schema if isinstance(schema, list) else []
    return {
        _name(row, f"column {place}"): _type_of(row) + _optional(row)
        for place, row in enumerate(rows, 1)
    }


def params(schema: Any) -> dict[str, str]:
    """Return the types of params, each with its default.

    :param schema: the decoded list, or None.
    """
    rows = schema if isinstance(schema, list) else []
    return {_name(row, f"param {place}"): _param(row) for place, row in enumerate(rows, 1)}


def _name(row: Any, otherwise: str) -> str:
    return str(row["name"]) if isinstance(row, Mapping) and row.get("name") else otherwise


def _optional(row: Any) -> str:
    if not isinstance(row, Mapping):
        return ""
    # Older releases of MLflow write `optional` where others write `required`.
    is_optional = row.get("optional") is True or row.get("required") is False
    return ", optional" if is_optional else ""


def _param(row: Any) -> str:
    if not isinstance(row, Mapping):
        return json.dumps(row)
    of = "list of " if row.get("shape") else ""
    # Older releases of MLflow write `dtype`.
    kind = _type_of({**row, "type": row.get("type") or row.get("dtype")})
    return f"{of}{kind} = {json.dumps(row.get('default'))}"


def _type_of(row: Any) -> str:
    """A type in words, of a column, of what is in a list, of a property of an object."""
    if not isinstance(row, Mapping):
        return json.dumps(row)
    kind = row.get("type")
    if kind == "tensor" and isinstance(tensor := row.get("tensor-spec"), Mapping):
        return f"tensor of {tensor.get('dtype')}, shape {tensor.get('shape')}"
    if kind == "array":
        return f"list of {_type_of(row.get('items'))}"
    if kind == "map":
        return f"map to {_type_of(row.get('values'))}"
    if kind == "object" and isinstance(properties := row.get("properties"), Mapping):
        listed = (f"{name}: {_type_of(p)}{_optional(p)}" for name, p in sorted(properties.items()))
        return f"object ({'; '.join(listed)})"
    return kind if isinstance(kind, str) else json.dumps(row)
