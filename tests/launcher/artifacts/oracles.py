"""Real MLflow and store emulators for the tests of artifacts, in environments of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.launcher.artifacts import servers
from tests.scoring_server.environments import only_one

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
USER, PASSWORD = "admin", "a-long-Password-1234"

# MLflow 2.x does not know SQLAlchemy 2.1; its own requirements do not say so.
MLFLOW = {"newest": ["mlflow[auth]", "boto3"], "2.x": ["mlflow[auth]<3", "sqlalchemy<2.1"]}


def build_node_package(folder: Path, package: str, program: str) -> Path:
    """Return the path of a program of a package for Node.js, installed in `folder`."""
    path = folder / "node_modules" / ".bin" / program
    with only_one(folder):
        if not path.exists():
            folder.mkdir(exist_ok=True)
            options = ["--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
            subprocess.run(["npm", "install", *options, package], cwd=folder, check=True)
    return path


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Run a server in a process group of its own until it is not needed any more."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        servers.wait_for_port(port, lambda: process.poll() is None)
        yield
    except BaseException:
        sys.stderr.write(log.read_text()[-3000:])
        raise
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True)
class MLflow:
    """A real MLflow, and what it logged to where."""

    python: Path
    uri: str
    made: Mapping[str, Any]
    folder: Path


@contextlib.contextmanager
def mlflow_server(
    python: Path, folder: Path, options: Sequence[str], environment: Mapping[str, str]
) -> Iterator[str]:
    """Run `mlflow server` with a SQLite database in `folder`; yield its address."""
    port = servers.free_port()
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", "sqlite:///server.db", *options]
    folder.mkdir(parents=True, exist_ok=True)
    # The newest starts eight more processes for jobs that nobody asks for here.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, port, folder, {**quiet, **environment}):
        yield f"http://127.0.0.1:{port}"


def run_client(
    python: Path, command: Sequence[str], uri: str, folder: Path, **environment: str
) -> str:
    """Run Python code with the real client in it; return what it printed."""
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [str(python), *command],
        cwd=folder,
        env={
            **inherited,
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def log_models(
    python: Path,
    uri: str,
    folder: Path,
    *location: str,
    versions: int = 2,
    **environment: str,
) -> dict[str, Any]:
    """Log and register models with the real client; return what log_models.py tells of them."""
    command = [str(HERE / "log_models.py"), uri, str(versions), *location]
    output = run_client(python, command, uri, folder, **environment)
    made: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return made
