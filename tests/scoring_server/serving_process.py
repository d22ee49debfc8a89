"""A scoring server in a process of its own, with a model that needs neither MLflow nor sklearn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Answers with the sum of each row, and tells in which process.
SUMS = """
class Model:
    def predict(self, model_input):
        return model_input.sum(axis=1).to_numpy()

def _load_pyfunc(path):
    return Model()
"""
INPUTS = [{"type": "double", "name": name} for name in "abcd"]
BODY = json.dumps(
    {"dataframe_split": {"columns": list("abcd"), "data": [[1.0, 2.0, 3.0, 4.0]] * 3}}
).encode()


def write_config(folder: Path, code: str = SUMS, **server: Any) -> Path:
    """Write a model whose loader is `code`, and its configuration; the configuration's path."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "loader_of_sums.py").write_text(code)
    flavor = {"loader_module": "loader_of_sums", "code": "code"}
    model = {
        "path": str(folder),
        "flavors": {"python_function": flavor},
        "signature": {"inputs": INPUTS, "outputs": None, "params": None},
    }
    path = folder / "config.json"
    path.write_text(json.dumps({"config_version": 1, "model": model, "server": server}))
    return path


@contextmanager
def serving(config: Path, *prefix: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the scoring server while the block runs; its address and its process.

    :param prefix: a command that runs it, such as a tracer.
    """
    readable, writable = os.pipe()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [
                *(*prefix, sys.executable, str(ROOT / "scoring_server"), str(config)),
                *(f"--socket-fd={listener.fileno()}", f"--status-fd={writable}"),
            ],
            pass_fds=[listener.fileno(), writable],
        )
    os.close(writable)
    try:
        with os.fdopen(readable) as status:
            events = (json.loads(line)["event"] for line in status)
            assert "ready" in events
            yield url, process
    finally:
        process.terminate()
        process.wait(30)
