"""Environments of the suite's own, built by uv below the session's home folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
import uv

from envs.building.context import Context
from envs.building.interpreters import find_interpreter
from envs.errors import EnvError
from tests.scoring_server.serving_process import SCRIPTS, script_environment

# The real MLflow, newest, and the libraries of the models that the suite logs with it.
ORACLE = [
    "mlflow", "flask", "pyarrow", "orjson", "pytest", "psutil",
    "xgboost-cpu", "lightgbm", "statsmodels",
]  # fmt: skip
# MLServer and its MLflow runtime: of their day, they do not run with what came later.
MLSERVER = ["mlserver==1.7.1", "mlserver-mlflow==1.7.1"]
MLSERVER_DAY = "--exclude-newer=2025-07-15"
# Clients of the Open Inference Protocol.
V2_CLIENTS = ["tritonclient[http]", "kserve"]
# What the scoring server needs, and its tests.
MINIMAL = ["numpy", "pandas", "flask", "pytest", "prometheus-client"]


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time make what is in a folder: pytest-xdist's share the home."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        yield


def build(home: Path, version: str | None, requirements: list[str], *options: str) -> str:
    """Return the interpreter of an environment, building it unless it is complete.

    :param version: a Python version, None for the one that runs the tests; where there is no such
        interpreter the test is skipped.
    :param options: of ``uv pip install``.
    """
    try:
        interpreter = find_interpreter(version, Context(python_downloads=False))
    except EnvError as error:
        pytest.skip(f"no Python {version} here: uv python install {version} ({error})")
    described = repr((interpreter.path, requirements, *options))
    folder = home / "test-environments" / hashlib.sha256(described.encode()).hexdigest()[:12]
    python, complete = folder / "bin" / "python", folder / "complete"
    with only_one(folder):
        if not complete.exists():
            program = uv.find_uv_bin()
            subprocess.run(
                [program, "venv", "-q", "--clear", "-p", interpreter.path, str(folder)], check=True
            )
            subprocess.run(
                [program, "pip", "install", "-q", "-p", str(python), *options, *requirements],
                check=True,
                env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
            )
            complete.touch()
    return str(python)


def older_python(below: tuple[int, int]) -> str:
    """A version of Python, the newest below that one that is here; skips where there is none."""
    for minor in range(below[1] - 1, 8, -1):
        version = f"{below[0]}.{minor}"
        with contextlib.suppress(EnvError):
            find_interpreter(version, Context(python_downloads=False))
            return version
    pytest.skip(f"no Python below {below} here: uv python install 3.9")


def newest_mlflow(python: str, home: Path) -> Path:
    """A folder with MLflow 3.18 or newer for the PYTHONPATH of an environment with an older one.

    Its wheel has all of MLflow's code, and its requirements hardly change between two releases; an
    index may have it some days before the package `mlflow-skinny`, which it asks for.
    """
    folder = home / "test-environments" / f"{Path(python).parents[1].name}-mlflow"
    with only_one(folder):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            command = [uv.find_uv_bin(), "pip", "install", "-q", "--python", python, "--no-deps"]
            subprocess.run([*command, "--target", partial, "mlflow>=3.18"], check=True)
            partial.rename(folder)
    return folder


def logged_models(python: str, script: str, home: Path, more: str = "") -> Path:
    """A folder of models, one folder each, logged by the MLflow of an environment.

    :param more: distinguishes models of the same environment.
    """
    # The environment's own folder name: models belong to the MLflow that logged them.
    folder = home / "test-models" / (Path(python).parents[1].name + more)
    command = [python, str(SCRIPTS / script), str(folder)]
    with only_one(home / "test-models"):  # MLflow's database is one, too
        subprocess.run(command, check=True, env=script_environment(home), cwd=home)
    return folder
