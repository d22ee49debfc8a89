"""One real MLflow scoring server and ours, serving the same models in the same environment."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from environments import ORACLE, build

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = HERE / "oracle"


@pytest.fixture(scope="session")
def oracle_python(launcher_home: Path) -> str:
    """The interpreter of an environment with the newest MLflow."""
    return build(launcher_home, None, ORACLE)


@pytest.fixture(scope="session")
def oracle_models(oracle_python: str, launcher_home: Path) -> Path:
    """A folder of models logged by the real MLflow, one folder each."""
    # The environment's own folder name: models belong to the MLflow that logged them.
    folder = launcher_home / "test-models" / Path(oracle_python).parents[1].name
    arguments = [oracle_python, str(SCRIPTS / "log_models.py"), str(folder)]
    subprocess.run(arguments, check=True, env=script_environment(launcher_home), cwd=launcher_home)
    return folder


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


@pytest.fixture(scope="session")
def mlflow_url(oracle_python: str, oracle_models: Path, launcher_home: Path) -> Iterator[str]:
    """MLflow's own scoring server; each model is below its name."""
    with serving(oracle_python, "serve_mlflow.py", oracle_models, launcher_home) as url:
        yield url


@pytest.fixture(scope="session")
def our_url(oracle_python: str, oracle_models: Path, launcher_home: Path) -> Iterator[str]:
    """The scoring server under test; each model is below its name."""
    with serving(oracle_python, "serve_ours.py", oracle_models, launcher_home) as url:
        yield url
