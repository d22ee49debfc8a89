"""Requests of the Open Inference Protocol that MLServer and the server under test are sent.

`differs` says why the answers are not the same although MLServer answers: these are the deliberate
differences. Where MLServer fails, any answer that is no failure of the server's own will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A request to a model of `log_v2_models.py`."""

    model: str
    document: dict[str, Any]
    differs: str = ""


def tensor(
    name: str, datatype: str, data: Sequence[Any], shape: list[int] | None = None, **parameters: Any
) -> dict[str, Any]:
    found = {"name": name, "datatype": datatype, "shape": shape or [len(data), 1], "data": data}
    return {**found, "parameters": parameters} if parameters else found


COLUMNS = [
    tensor("boolean", "BOOL", [True, False]),
    tensor("integer", "INT32", [1, -2]),
    tensor("long", "INT64", [2**40, 3]),
    tensor("float", "FP32", [0.5, 1.5]),
    tensor("double", "FP64", [1.25, None]),
    tensor("string", "BYTES", ["a", "ü"]),
    tensor("binary", "BYTES", ["dGVzdA==", "not base64!"]),
    tensor("datetime", "BYTES", ["2020-01-02", "2020-01-02T03:04:05"]),
]
A, B = tensor("a", "FP64", [1.5, 2.0]), tensor("b", "FP64", [0.5, 1.0])
X, Y = tensor("x", "FP32", [1, 2, 3, 4], [2, 2]), tensor("y", "INT64", [1, 2], [2])
SQUARE = tensor("x", "FP64", [1, 2, 3, 4], [2, 2])


def of(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request's document; `more` are its parameters."""
    return {"inputs": list(inputs), "parameters": more} if more else {"inputs": list(inputs)}


# Of each the model that describes what reached it, and the one that answers with it.
TWICE: list[tuple[str, dict[str, Any]]] = [
    ("columns", of(*COLUMNS)),
    ("columns", of(*COLUMNS, factor=3.5, names=["x"])),
    ("columns", of(*COLUMNS, factor="x")),
    ("columns", of(*COLUMNS, other=1)),
    ("columns", of(*COLUMNS[:-1])),
    ("columns", {"id": "7", **of(*COLUMNS[::-1])}),
    ("columns", of(*COLUMNS, tensor("more", "FP32", [1, 2]))),
    ("numbers", of(A, B)),
    ("numbers", of(tensor("a", "FP32", [1.5, 2.0]), B)),
    ("numbers", of(tensor("a", "INT32", [1, 2]), B)),
    ("numbers", of(tensor("a", "INT64", [1, 2]), B)),
    ("numbers", of(tensor("a", "INT64", [1, 0]), B)),
    ("numbers", of(A, B, tensor("c", "INT64", [1, 2]))),
    ("numbers", of(A, B, tensor("c", "INT32", [1, 2]))),
    ("numbers", of(A, B, tensor("c", "FP64", [1, 2]))),
    ("numbers", of(A, B, content_type="pd")),
    ("numbers", of(A, content_type="np")),
    ("numbers", of(A, B, content_type="np")),
    ("numbers", of(A, B, content_type="dict")),
    ("numbers", of(A, B, content_type="nonsense")),
    ("numbers", of(tensor("a", "FP64", [1.5, 2.0], [2]), tensor("b", "FP64", [0.5, 1.0], [2]))),
    ("numbers", of(tensor("a", "FP64", [1.5, 2.0], [1, 2]), B)),
    ("numbers", of(tensor("a", "FP64", [1.5, 2.0], [3]), B)),
    ("numbers", of(tensor("a", "FP64", [[1.5], [2.0]]), tensor("b", "FP64", [[0.5], [1.0]]))),
    ("numbers", of(tensor("a", "BYTES", ["1.5"]), tensor("b", "FP64", [0.5]))),
    ("numbers", of()),
    ("numbers", {}),
    ("nested", of(tensor("list", "BYTES", ["[1.5, 2]"], content_type="pd_json"),
                  tensor("text", "BYTES", ["a"]))),
    ("nested", of(tensor("list", "BYTES", ["[1.5, 2]"]), tensor("text", "BYTES", ["a"]))),
    ("nested", of(tensor("list", "FP64", [1.5, 2], [1, 2]), tensor("text", "BYTES", ["a"]))),
    ("tensors", of(X, Y)),
    ("tensors", of(tensor("x", "FP32", [[1, 2], [3, 4]], [2, 2]), Y)),
    ("tensors", of(tensor("x", "FP64", [1, 2, 3, 4], [2, 2]), Y)),
    ("tensors", of(X, tensor("y", "INT32", [1, 2], [2]))),
    ("tensors", of(X)),
    ("tensors", of(X, Y, tensor("z", "INT64", [1, 2], [2]))),
    ("texts", of(tensor("t", "BYTES", ["a", "bc"], [2]))),
    ("texts", of(tensor("t", "BYTES", ["a", "bc"], [2], content_type="str"))),
    ("tensor", of(SQUARE)),
    ("tensor", of(tensor("x", "FP64", [1, None, 3, 4], [2, 2]))),
    ("tensor", of(tensor("x", "FP32", [1, 2, 3, 4], [2, 2]))),
    ("tensor", of(tensor("x", "FP64", [1, 2, 3], [2, 2]))),
    ("tensor", of(SQUARE, Y)),
    ("free", of(SQUARE, content_type="np")),
    ("free", of(A, tensor("y", "BYTES", ["a", "b"], content_type="str"), content_type="pd")),
    ("free", of(A, tensor("y", "BYTES", ["a", "b"]), content_type="pd")),
    ("free", of(tensor("x", "FP64", [1], content_type="np"),
                tensor("y", "UINT16", [1, 2], content_type="np"), content_type="dict")),
    ("free", of(tensor("y", "BYTES", ["a", "b"]), content_type="str")),
    ("free", of(tensor("y", "BYTES", ["2020-01-01"], content_type="datetime"), content_type="pd")),
    ("free", of(tensor("y", "BYTES", ['{"a": 1}'], content_type="pd_json"), content_type="pd")),
    *(
        ("free", of(tensor("x", datatype, [1, 0, 1, 1], [2, 2], content_type="np"),
                    content_type="np"))
        for datatype in ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
                         "INT64", "FP16", "FP32", "FP64")
    ),
]  # fmt: skip

# What `describe.answers` has by these names.
ANSWERS = [
    "int_array", "float_array", "float32_array", "array_2d", "array_0d", "bool_array", "text_array",
    "frame", "int_columns", "series", "list", "text", "number", "dict_of_arrays", "nanoseconds",
    "category_frame", "nested", "none",
]  # fmt: skip

UNEQUAL = "MLServer fills the shorter column with missing values"
TEXTS = "numpy makes numbers of texts"
WANTED = "MLServer answers with all outputs, whichever are wanted"
NAMELESS = "nameless columns have no names in other formats either"
FREE = "without a content type and a signature, MLServer's model gets the request itself"
RAW = "without a content type, MLServer's model gets the JSON list itself"
BYTES = "MLServer runs the elements together"
MIXED = "elements of BYTES are texts in JSON"

DIFFERENT = [
    Case("echo-numbers", of(A, tensor("b", "FP64", [0.5])), UNEQUAL),
    Case("echo-numbers", of(tensor("a", "FP64", ["1.5"]), tensor("b", "FP64", [0.5])), TEXTS),
    Case("echo-numbers", {**of(A, B), "outputs": [{"name": "b"}]}, WANTED),
    Case("echo-numbers", {**of(A, B), "outputs": [{"name": "nonsense"}]}, WANTED),
    Case(
        "describe-nameless",
        of(tensor("input-0", "FP64", [1.5]), tensor("input-1", "INT64", [2])),
        NAMELESS,
    ),
    Case("describe-free", of(SQUARE), FREE),
    Case("describe-free", of(SQUARE, Y, content_type="dict"), RAW),
    Case("answers", of(tensor("kind", "BYTES", ["bytes_array"])), BYTES),
    Case("answers", of(tensor("kind", "BYTES", ["object_array"])), MIXED),
]

CASES = [
    *(Case(f"{kind}-{model}", each) for model, each in TWICE for kind in ("describe", "echo")),
    *(Case("answers", of(tensor("kind", "BYTES", [name]))) for name in ANSWERS),
    Case("hinted", of(tensor("input-0", "BYTES", ["a", "b"]))),
    *DIFFERENT,
]
