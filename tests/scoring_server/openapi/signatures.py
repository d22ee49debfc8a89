"""Signatures by the names that the oracle's models have, and what answers for them without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from scoring_server.config import ServerConfig
from scoring_server.model.loading import LoadedModel
from scoring_server.protocols.openapi import openapi
from scoring_server.protocols.registry import route_groups
from scoring_server.route_table import RouteTable
from scoring_server.routes import Answer, Request
from scoring_server.scoring.application import Application
from tests.scoring_server.cases import GOOD

POINT = {
    "type": "object",
    "properties": {"x": {"type": "double"}, "y": {"type": "double", "required": False}},
}
MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
}


def columns(kind: str | None = None, **kinds: str) -> list[dict[str, Any]]:
    """Named columns of scalars."""
    return [{"name": name, "type": kind or each} for name, each in kinds.items()]


def optional(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "required": False} for each in inputs]


def tensor(dtype: str, *shape: int, **name: str) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **name}


def param(name: str, kind: str, default: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default, "shape": None, **more}


ABCD = columns(a="double", b="double", c="double", d="double")
SCALARS = [{"name": name, "type": name} for name in GOOD]
NESTED = [
    {"name": "tags", "type": "array", "items": {"type": "string"}, "required": True},
    {
        "name": "matrix",
        "type": "array",
        "items": {"type": "array", "items": {"type": "long"}},
        "required": False,
    },
    {**POINT, "name": "point", "required": True},
    {"name": "scores", "type": "map", "values": {"type": "double"}, "required": False},
    {"name": "anything", "type": "any", "required": False},
    {"name": "points", "type": "array", "items": POINT, "required": False},
]
PARAMS = [
    param("flag", "boolean", False),
    param("count", "integer", 3),
    param("large", "long", 2**40),
    param("narrow", "float", 0.5),
    param("wide", "double", 0.25),
    param("text", "string", "a"),
    param("when", "datetime", "2020-01-01T00:00:00"),
    param("list", "double", [1.0, 2.0], shape=[-1]),
    param("words", "string", ["a"], shape=[-1]),
    param("nothing", "string", None),
    param(
        "options", "object", {"depth": 1},
        properties={"depth": {"type": "long"}, "name": {"type": "string", "required": False}},
    ),
]  # fmt: skip
CHAT = [{"name": "messages", "type": "array", "items": MESSAGE, "required": True}]
CHAT_PARAMS = [param("temperature", "double", 1.0), param("max_tokens", "long", 10)]
# What `SignatureConfig` takes, by the model's name; None for a model without a signature.
SIGNATURES: dict[str, dict[str, Any] | None] = {
    "no_signature": None,
    "only_params": {"params": PARAMS},
    "scalars": {"inputs": SCALARS},
    "optional_scalars": {"inputs": optional(SCALARS)},
    "doubles": {"inputs": ABCD},
    "mixed_numbers": {
        "inputs": columns(n="long", x="double", i="integer") + optional(columns(f="float"))
    },
    "unnamed_columns": {"inputs": [{"type": "double"}, {"type": "long"}]},
    "one_string": {"inputs": [{"type": "string"}]},
    "one_named_string": {"inputs": columns(text="string")},
    "one_long": {"inputs": columns(n="long")},
    "binary_and_long": {"inputs": columns(a="long", b="binary")},
    "datetime_and_long": {"inputs": columns(a="long", b="datetime")},
    "question": {
        "inputs": columns(question="string", context="string"),
        "params": [param("max_answer_len", "long", 15)],
    },
    "chat_payload": {"inputs": CHAT, "params": CHAT_PARAMS},
    "nested": {"inputs": NESTED},
    "one_array": {
        "inputs": [
            {"name": "values", "type": "array", "items": {"type": "double"}, "required": True}
        ]
    },
    "array_of_times": {
        "inputs": [
            {"name": "times", "type": "array", "items": {"type": "datetime"}, "required": True}
        ]
    },
    "params": {"inputs": columns(x="double"), "params": PARAMS},
    "tensor": {"inputs": [tensor("float64", -1, 3)]},
    "tensor_1d": {"inputs": [tensor("int64", -1)]},
    "tensor_image": {"inputs": [tensor("uint8", -1, 2, 2)]},
    "tensor_ragged": {"inputs": [tensor("float32", -1, -1, 2)]},
    "tensor_text": {"inputs": [tensor("str", -1)]},
    "tensors_named": {
        "inputs": [tensor("float32", -1, 2, name="left"), tensor("int64", -1, name="right")]
    },
    "tensor_one_named": {"inputs": [tensor("float64", -1, 2, name="x")]},
}


def configuration(
    signature: dict[str, Any] | None, server: dict[str, Any] | None = None, **model: Any
) -> ServerConfig:
    """The configuration for a model with that signature."""
    document = {"path": "/no/model", "names": ["m"], "signature": signature, **model}
    return ServerConfig.from_dict({"model": document, "server": server or {}})


class Echo:
    """A server of a model that answers everything, in this process.

    :param document: the OpenAPI document.
    """

    def __init__(self, config: ServerConfig) -> None:
        groups = route_groups(config)
        self._table = RouteTable(groups)
        self._application = Application(config, LoadedModel(self, self._predict))
        self.document = openapi(config, groups)

    @staticmethod
    def _predict(model_input: Any, params: Any = None) -> Any:
        return [1]

    def send(self, path: str, body: Any, media_type: str = "application/json") -> Answer:
        """The answer to a body: bytes, or what is to be sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        match = self._table.find("POST", path)
        headers = {"content-type": media_type}
        return self._application.answer(
            Request(match.group, match.route, "POST", path, match.params, "", headers, data)  # type: ignore[arg-type]
        )

    def body(self, path: str = "/invocations") -> dict[str, Any]:
        """The Media Type Object of a JSON body."""
        operation = self.document["paths"][path]["post"]
        media: dict[str, Any] = operation["requestBody"]["content"]["application/json"]
        return media

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """What validates by a schema of the document."""
        return validator(self.document, schema)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """What validates by a schema of an OpenAPI document."""
    return Draft202012Validator({**schema, "components": document["components"]})


def echo(name: str) -> Echo:
    """The server for one of the signatures."""
    return Echo(configuration(SIGNATURES[name]))


def write_echo_model(folder: Path, name: str, **server: Any) -> Path:
    """Write a model that answers everything, and its configuration; the configuration's path."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "loader_of_echo.py").write_text(
        "class Model:\n"
        "    def predict(self, model_input, params=None):\n"
        "        return [type(model_input).__name__]\n"
        "def _load_pyfunc(path):\n"
        "    return Model()\n"
    )
    model = {
        "path": str(folder),
        "names": ["m"],
        "flavors": {"python_function": {"loader_module": "loader_of_echo", "code": "code"}},
        "signature": SIGNATURES[name],
    }
    path = folder / "config.json"
    path.write_text(json.dumps({"config_version": 1, "model": model, "server": server}))
    return path
