"""Bodies of requests, through the whole of the server's path from bytes to an answer.

Byte 0 chooses the model, byte 1 the Content-Type (JSON, CSV, Parquet, Arrow), byte 2 whether a
stream is asked for and, above 127, whether the body is gzip; the rest is the body. A status of 500
and above is a find: the models never raise. Mutations are libFuzzer's of the bytes and, where the
body is JSON, some of its values.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from tests.fuzz.target import Found, Input, Target

MODEL = """
class Model:
    def predict(self, model_input, params=None):
        return [1, 2.5]

    def predict_stream(self, model_input, params=None):
        yield 1

def _load_pyfunc(path):
    return Model()
"""
SCALARS = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]
OBJECT = {"type": "object", "properties": {"x": {"type": "double"}, "y": {"type": "any"}}}
PARAMS = [
    {"name": kind, "type": kind, "default": None, "shape": None}
    for kind in SCALARS
    if kind != "binary"
]
SIGNATURES: list[dict[str, Any] | None] = [
    None,
    {"inputs": [{"name": kind, "type": kind} for kind in SCALARS], "params": PARAMS},
    {"inputs": [{"name": kind, "type": kind, "required": False} for kind in SCALARS]},
    {"inputs": [{"type": "string"}]},
    {"inputs": [{"type": "double"}, {"type": "long"}]},
    {
        "inputs": [
            {"name": "a", "type": "array", "items": {"type": "long"}, "required": True},
            {"name": "m", "type": "map", "values": OBJECT, "required": False},
            dict(OBJECT, name="o", required=True),
        ]
    },
    {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]},
    {
        "inputs": [
            {"name": "l", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}},
            {"name": "r", "type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1, 2]}},
        ]
    },
]
CONTENT_TYPES = [
    "application/json", "text/csv", "application/csv; header=absent", "application/x-parquet",
    "application/json; charset=utf-8", "text/csv; header=present", "application/json; stream",
    "application/vnd.apache.arrow.stream",
]  # fmt: skip
ROW = {
    "boolean": True, "integer": 1, "long": 2, "float": 0.5, "double": 1.5, "string": "a",
    "binary": "dGVzdA==", "datetime": "2020-01-02T03:04:05Z",
}  # fmt: skip


# --- the seam: a model's server, and one request to it --------------------------------------------


def applications(folder: Path) -> Iterator[Any]:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "fuzzed_loader.py").write_text(MODEL)
    flavor: dict[str, Any] = {"loader_module": "fuzzed_loader", "code": "code"}
    for number, signature in enumerate(SIGNATURES):
        if number % 2:
            flavor = dict(flavor, streamable=True)
        model = {
            "path": str(folder),
            "flavors": {"python_function": flavor},
            "signature": signature,
        }
        config = ServerConfig.from_dict({"model": model, "server": {"max_body": 1 << 20}})
        protocol = MlflowProtocol(config)
        yield protocol, Application(config, load_model(config))


def status_of(
    served: Any, content_type: str, accept: str, body: bytes, *, is_gzip: bool = False
) -> int:
    """Have a request answered, and read its answer to the end."""
    protocol, application = served
    headers = {"content-type": content_type, "accept": accept}
    if is_gzip:
        headers["content-encoding"] = "gzip"
    route = protocol.routes[0]
    answer = application.answer(Request(protocol, route, "POST", route.path, {}, "", headers, body))
    for _ in () if isinstance(answer.body, bytes) else answer.body:
        pass
    return int(answer.status)


# -------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> Input:
    served = list(applications(folder / "model"))

    def take(data: bytes) -> None:
        if len(data) < 3:
            return
        model = served[data[0] % len(served)]
        content_type = CONTENT_TYPES[data[1] % len(CONTENT_TYPES)]
        accept = ("", "*/*", "text/event-stream")[data[2] % 3]
        status = status_of(model, content_type, accept, data[3:], is_gzip=data[2] > 127)
        if status >= 500:
            raise Found(f"status {status}")

    return take


WORDS = [
    *ROW, "dataframe_split", "dataframe_records", "inputs", "instances", "params", "columns",
    "data", "index", "messages", "stream", "null", "true", "NaN", "-Infinity", "1e999",
    "9223372036854775808", "\\ud800", "\\u0000", "[[[[", '{"a":', "PAR1",
]  # fmt: skip


ODD: list[object] = [
    None, True, 0, -1, 1.5, 1e300, 2**31, 2**63, 2**64, "", "a", "1", "NaN", "\ud800", "2020-01-01",
    "2020-01-01T00:00:00+02:00", "dGVzdA==", [], {}, [[]], [None], [1, "a"], {"a": 1}, {"x": 1.5},
]  # fmt: skip


def mutate(data: bytes, longest: int, seed: int, other: Callable[[bytes, int], bytes]) -> bytes:
    """Change one value of a JSON body half of the time; else leave it to libFuzzer."""
    chance = random.Random(seed)
    if chance.random() < 0.5 and len(data) > 3:
        try:
            document = json.loads(data[3:])
        except (ValueError, RecursionError):
            return other(data, longest)
        head = bytes([chance.randrange(len(SIGNATURES)), data[1], data[2]])
        return (head + json.dumps(replaced(document, chance)).encode())[:longest]
    return other(data, longest)


def replaced(value: Any, chance: random.Random) -> Any:
    """The value with one part of it, anywhere in it, replaced, dropped or doubled."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(ODD)
    keys: Any = list(value) if isinstance(value, dict) else range(len(value))
    key = chance.choice(keys)
    changed: Any = value.copy()
    if chance.random() < 0.1:
        del changed[key]
    elif chance.random() < 0.1 and isinstance(value, list):
        changed += value
    else:
        changed[key] = replaced(value[key], chance)
    return changed


TARGET = Target(
    prepare, longest=20_000, seconds=10.0, megabytes=300, words=tuple(WORDS), mutate=mutate
)
