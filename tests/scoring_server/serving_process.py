"""Server processes of the suite: a scoring server with a small model, and scripts of `oracle/`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "oracle"

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
def serve_locally(
    arguments: Callable[[int, int], list[str]], *, env: dict[str, str] | None = None,
    cwd: Path | None = None, announces_on_stdout: bool = False,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:  # fmt: skip
    """Run a server on a socket bound here while the block runs; its address and its process.

    :param arguments: the command, given the socket and a pipe on which "ready" is awaited.
    :param announces_on_stdout: whether it writes that to standard output instead.
    """
    readable, writable = os.pipe()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            arguments(listener.fileno(), writable),
            stdout=writable if announces_on_stdout else None,
            pass_fds=[listener.fileno(), writable],
            env=env,
            cwd=cwd,
        )
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as status:
            assert any(b"ready" in line for line in status)
            yield url, process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(config: Path, *prefix: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the scoring server.

    :param prefix: a command that runs it, such as a tracer.
    """

    def command(listener: int, status: int) -> list[str]:
        server = [sys.executable, str(ROOT / "scoring_server"), str(config)]
        return [*prefix, *server, f"--socket-fd={listener}", f"--status-fd={status}"]

    with serve_locally(command) as served:
        yield served


def script_environment(home: Path) -> dict[str, str]:
    """The process environment for a script of `oracle/`."""
    return {
        **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPTS}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def serving_models(python: str, script: str, models: Path, home: Path, *more: str) -> Iterator[str]:
    """Run a script of `oracle/` that serves a folder of models; the value is its base URL."""

    def command(listener: int, _: int) -> list[str]:
        return [python, str(SCRIPTS / script), str(models), str(listener), *more]

    environment = script_environment(home)
    with serve_locally(command, env=environment, cwd=home, announces_on_stdout=True) as (url, _):
        yield url
