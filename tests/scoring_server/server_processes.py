"""Server processes of the suite: scripts of `oracle/` on a socket that the test has bound."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = HERE / "oracle"


def script_environment(home: Path) -> dict[str, str]:
    """The process environment for a script of `oracle/`."""
    return {
        **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPTS}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def serving(python: str, script: str, models: Path, home: Path, *more: str) -> Iterator[str]:
    """Run a script of `oracle/` that serves a folder of models; the value is its base URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.listen(128)
        arguments = [python, str(SCRIPTS / script), str(models), str(listener.fileno()), *more]
        log = home / f"{script}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=output,
                pass_fds=[listener.fileno()],
                env=script_environment(home),
                cwd=home,
            )
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        assert ready == b"ready\n", log.read_text()[-3000:]
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
