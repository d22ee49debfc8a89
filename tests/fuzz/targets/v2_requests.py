"""Requests of the Open Inference Protocol, through the server's path from bytes to an answer.

Byte 0 chooses the model. Byte 1 is 0 for a body of JSON alone; else the next two bytes,
little-endian, are the length of the JSON that comes first, and binary tensors follow it. The models
answer with what they were given. A status of 500 and above is a find, and so is an answer whose
binary tensors are not as long as it says. Mutations are libFuzzer's of the bytes and, where there
is JSON, some of its values.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.open_inference.protocol import OpenInferenceProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from tests.fuzz.target import Found, Input, Target
from tests.fuzz.targets.bodies import SIGNATURES, replaced

MODEL = """
class Model:
    def predict(self, model_input, params=None):
        return model_input

def _load_pyfunc(path):
    return Model()
"""
LENGTH = "inference-header-content-length"


# --- the seam: a model's server, and one request to it --------------------------------------------


def applications(folder: Path) -> Iterator[Any]:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "echoing_loader.py").write_text(MODEL)
    flavor = {"loader_module": "echoing_loader", "code": "code"}
    hinted = {"inputs": [{"type": "array", "items": {"type": "string"}, "required": True}]}
    for number, signature in enumerate([*SIGNATURES, hinted]):
        model = {
            "path": str(folder),
            "flavors": {"python_function": flavor},
            "signature": signature,
            "is_signature_from_type_hint": number == len(SIGNATURES),
        }
        config = ServerConfig.from_dict({"model": model, "server": {"max_body": 1 << 20}})
        yield OpenInferenceProtocol(config), Application(config, load_model(config))


def answer_to(served: Any, headers: dict[str, str], body: bytes) -> Any:
    protocol, application = served
    route = protocol.routes[-2]
    params = {"name": "model"}
    return application.answer(
        Request(protocol, route, "POST", route.path, params, "", headers, body)
    )


# -------------------------------------------------------------------------------------------------


def split(data: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body of an input."""
    if data[1] == 0:
        return {}, data[2:]
    return {LENGTH: str(int.from_bytes(data[2:4], "little"))}, data[4:]


def prepare(folder: Path) -> Input:
    served = list(applications(folder / "model"))

    def take(data: bytes) -> None:
        if len(data) < 4:
            return
        answer = answer_to(served[data[0] % len(served)], *split(data))
        if answer.status >= 500:
            raise Found(f"status {answer.status}: {answer.body!r}")
        if answer.status == 200:
            check(answer)

    return take


def check(answer: Any) -> None:
    """See that what a client cuts out of an answer is there."""
    headers = {name.lower(): value for name, value in answer.headers}
    size = int(headers.get(LENGTH, len(answer.body)))
    outputs = json.loads(answer.body[:size])["outputs"]
    sizes = [each.get("parameters", {}).get("binary_data_size", 0) for each in outputs]
    if size + sum(sizes) != len(answer.body):
        raise Found(f"{answer.body!r}")


WORDS = [
    "inputs", "outputs", "parameters", "name", "shape", "datatype", "data", "content_type",
    "binary_data_size", "binary_data", "binary_data_output", "id", "BOOL", "UINT64", "INT8", "FP16",
    "FP32", "FP64", "BYTES", "np", "str", "base64", "datetime", "pd_json", "pd", "dict", "input-0",
    "boolean", "double", "string", "binary", "null", "NaN", "1e999", "9223372036854775808",
    "18446744073709551615", "\\ud800", "\\u0000",
]  # fmt: skip


def mutate(data: bytes, longest: int, seed: int, other: Callable[[bytes, int], bytes]) -> bytes:
    """Change one value of the JSON half of the time; else leave it to libFuzzer."""
    chance = random.Random(seed)
    if chance.random() < 0.5 and len(data) > 4:
        headers, body = split(data)
        size = int(headers.get(LENGTH, len(body)))
        try:
            document = json.loads(body[:size])
        except (ValueError, RecursionError):
            return other(data, longest)
        text = json.dumps(replaced(document, chance)).encode()
        head = bytes([chance.randrange(len(SIGNATURES) + 1), data[1]])
        if headers:
            head += (len(text) & 0xFFFF).to_bytes(2, "little")
        return (head + text + body[size:])[:longest]
    return other(data, longest)


TARGET = Target(
    prepare, longest=20_000, seconds=10.0, megabytes=300, words=tuple(WORDS), mutate=mutate
)
