"""One real MLflow scoring server and ours, serving the same models in the same environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scoring_server.environments import ORACLE, build, logged_models
from tests.scoring_server.serving_process import serving_models


@pytest.fixture(scope="session")
def oracle_python(launcher_home: Path) -> str:
    """The interpreter of an environment with the newest MLflow."""
    return build(launcher_home, None, ORACLE)


@pytest.fixture(scope="session")
def oracle_models(oracle_python: str, launcher_home: Path) -> Path:
    """A folder of models logged by the real MLflow, one folder each."""
    return logged_models(oracle_python, "log_models.py", launcher_home)


@pytest.fixture(scope="session")
def mlflow_url(oracle_python: str, oracle_models: Path, launcher_home: Path) -> Iterator[str]:
    """MLflow's own scoring server; each model is below its name."""
    with serving_models(oracle_python, "serve_mlflow.py", oracle_models, launcher_home) as url:
        yield url


@pytest.fixture(scope="session")
def our_url(oracle_python: str, oracle_models: Path, launcher_home: Path) -> Iterator[str]:
    """The scoring server under test; each model is below its name."""
    with serving_models(oracle_python, "serve_ours.py", oracle_models, launcher_home) as url:
        yield url
