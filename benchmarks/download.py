"""Time to fetch a model of 1 GB in 200 files from a local tracking server.

    python benchmarks/download.py MLFLOW_PYTHON [--megabytes 1000] [--files 200] [--rounds 3]

MLFLOW_PYTHON is the interpreter of an environment with MLflow. A real tracking server is started
from it on the loopback address; in turn the launcher and `mlflow artifacts download` fetch the
same run's artifact from it, each time into an empty folder, in processes of their own. Prints one
line of JSON: seconds of every round, the start of the interpreter and its imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

MLMODEL = "flavors:\n  python_function:\n    loader_module: m\n    python_version: 3.11.0\n"

LOG = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.log_artifacts(sys.argv[2], "model")
print(run.info.run_id)
"""

FETCH = """
import sys
from launcher.artifacts import resolve_model
print(resolve_model(sys.argv[1]).path)
"""


def make_model(folder: Path, megabytes: int, files: int) -> None:
    """Write a model of random bytes: `files` files of equal size and an MLmodel."""
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    for number in range(files):
        (folder / "data" / f"{number:04}.bin").write_bytes(os.urandom(megabytes * 10**6 // files))


def start_server(python: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start `mlflow server` on a free port and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--host 127.0.0.1 --port {port} --workers 2 --backend-store-uri sqlite:///m.db"
    server = subprocess.Popen(
        [python, "-m", "mlflow", "server", *options.split(), "--artifacts-destination", "store"],
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=(folder / "server.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
            return server, uri
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit((folder / "server.log").read_text()[-2000:])
            time.sleep(0.2)


def timed(command: list[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Run `command`; return its seconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - began, done.stdout


def compare(python: str, uri: str, run: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Fetch in turn with both; return the seconds of each round."""
    seconds: dict[str, list[float]] = {"launcher": [], "mlflow": [], "launcher_cached": []}
    ours = [sys.executable, "-c", FETCH, f"runs:/{run}/model"]
    for _ in range(rounds):
        environment = {"MLFLOW_TRACKING_URI": uri, "LAUNCHER_HOME": str(folder / "home")}
        taken, path = timed(ours, environment)
        seconds["launcher"].append(taken)
        seconds["launcher_cached"].append(timed(ours, environment)[0])
        theirs = [python, "-m", "mlflow", "artifacts", "download", "-u", f"runs:/{run}/model"]
        taken, _ = timed([*theirs, "-d", str(folder / "theirs")], environment)
        seconds["mlflow"].append(taken)
        subprocess.run(["diff", "-r", path.strip(), folder / "theirs" / "model"], check=True)
        shutil.rmtree(folder / "home")
        shutil.rmtree(folder / "theirs")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", metavar="MLFLOW_PYTHON")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model", chosen.megabytes, chosen.files)
        server, uri = start_server(chosen.python, folder)
        try:
            log = [chosen.python, "-c", LOG, uri, str(folder / "model")]
            run = timed(log, {})[1].split()[-1]
            seconds = compare(chosen.python, uri, run, folder, chosen.rounds)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)
    report = {
        "megabytes": chosen.megabytes,
        "files": chosen.files,
        "median": {name: round(statistics.median(v), 2) for name, v in seconds.items()},
        "seconds": {name: [round(one, 2) for one in v] for name, v in seconds.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
