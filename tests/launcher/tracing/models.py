"""Models of the tests of traces."""

from __future__ import annotations

import json
from pathlib import Path

# Streams, and takes as long as a row says.
STREAMING = """
import os, time

class Model:
    def predict(self, data):
        time.sleep(float(data["seconds"].max()))
        return [float(each) for each in data["seconds"]]

    def predict_stream(self, data):
        yield {"content": "first"}
        time.sleep(0.3)
        if data["seconds"] < 0:
            os._exit(9)
        yield {"content": "last"}

def _load_pyfunc(path):
    return Model()
"""


def streaming_model(path: Path, *, streams: bool = True) -> Path:
    """Write a model that answers tables and, if it `streams`, those who ask for a stream."""
    (path / "code").mkdir(parents=True)
    (path / "code" / "streaming_model.py").write_text(STREAMING)
    inputs = json.dumps([{"type": "double", "name": "seconds"}])
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: streaming_model\n    code: code\n"
        f"    streamable: {str(streams).lower()}\n"
        f"signature:\n  inputs: '{inputs}'\n"
    )
    (path / "requirements.txt").write_text("")
    return path
