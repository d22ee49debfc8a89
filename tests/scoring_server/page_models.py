"""Models of the page's tests: one of all kinds of columns, one of a tensor, one that chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.scoring_server.serving_process import write_config

COLUMNS = [
    {"type": "double", "name": "size", "required": True},
    {"type": "long", "name": "count", "required": True},
    {"type": "string", "name": "word", "required": True},
    {"type": "boolean", "name": "fresh", "required": True},
    {"type": "datetime", "name": "day", "required": True},
    {"type": "double", "name": "spare", "required": False},
    {"type": "array", "items": {"type": "long"}, "name": "list", "required": False},
]
PARAMS = [{"name": "factor", "type": "double", "default": 1.0, "shape": None}]
ROWS = [
    [1.5, 2, "a", True, "2026-01-31T12:00:00", None, [1, 2]],
    [2.0, 9007199254740993, 'b, "c"', False, "2026-02-01T00:00:00", 3.5, []],
]
EXAMPLE = {"dataframe_split": {"columns": [each["name"] for each in COLUMNS], "data": ROWS}}

# Two columns of predictions, which show what has come.
TABLE = """
class Model:
    def predict(self, model_input, params=None):
        if (model_input["word"] == "wrong").any():
            raise ValueError("a wrong word")
        answer = model_input[["count"]].copy()
        answer["double"] = model_input["size"] * 2 * (params or {}).get("factor", 1.0)
        return answer

def _load_pyfunc(path):
    return Model()
"""
# Says again what was said last, a word at a time where it is asked to stream.
CHAT = """
import time

class Model:
    def predict(self, model_input, params=None):
        message = {"role": "assistant", "content": _reply(model_input)}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def predict_stream(self, model_input, params=None):
        for word in _reply(model_input).split(" "):
            if word == "fail":
                raise ValueError("lost for words")
            if word == "slowly":
                time.sleep(2)
            yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": word + " "}}]}

def _reply(model_input):
    messages = model_input["messages"]
    return "{}: {}".format(len(messages), messages[-1]["content"])

def _load_pyfunc(path):
    return Model()
"""


def table_model(folder: Path, **server: Any) -> Path:
    """A model of many kinds of columns, with an example; its configuration's path."""
    path = write_config(folder, TABLE, **server)
    (folder / "example.json").write_text(json.dumps(EXAMPLE))
    return changed(
        path,
        names=["prices", "shop"],
        version="7",
        aliases=["champion"],
        signature={"inputs": COLUMNS, "outputs": None, "params": PARAMS},
        saved_input_example_info={"serving_input_path": "example.json"},
    )


def tensor_model(folder: Path, **server: Any) -> Path:
    """A model of one unnamed tensor."""
    code = "class Model:\n    def predict(self, x):\n        return x.sum(axis=1)\n"
    path = write_config(folder, code + "def _load_pyfunc(path):\n    return Model()\n", **server)
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}
    return changed(path, signature={"inputs": [spec], "outputs": None, "params": None})


def chat_model(folder: Path, **server: Any) -> Path:
    """A model that chats, without a signature."""
    path = write_config(folder, CHAT, **server)
    flavor = {"loader_module": "loader_of_sums", "code": "code", "streamable": True}
    metadata = {"task": "llm/v1/chat"}
    return changed(
        path, signature=None, metadata=metadata, flavors={"python_function": flavor}, names=["echo"]
    )


def changed(path: Path, **model: Any) -> Path:
    """The configuration with these fields of the model."""
    content = json.loads(path.read_text())
    content["model"].update(model)
    path.write_text(json.dumps(content))
    return path
