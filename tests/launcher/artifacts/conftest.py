"""Real MLflow servers and store emulators, shared by the tests of artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.artifacts.oracles import (
    MLFLOW,
    PASSWORD,
    ROOT,
    USER,
    MLflow,
    log_models,
    mlflow_server,
)
from tests.scoring_server.environments import build


@pytest.fixture(scope="session", params=list(MLFLOW))
def mlflow_python(request: pytest.FixtureRequest, launcher_home: Path) -> Path:
    """The Python of an environment with a real MLflow: the newest, and the last 2.x."""
    return Path(build(launcher_home, None, MLFLOW[request.param]))


@pytest.fixture(scope="session")
def newest_mlflow_python(launcher_home: Path) -> Path:
    """The Python of an environment with the newest MLflow."""
    return Path(build(launcher_home, None, MLFLOW["newest"]))


@pytest.fixture(scope="session")
def tracking_server(
    mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MLflow]:
    """A tracking server that hands out the artifacts itself, with models."""
    folder = tmp_path_factory.mktemp("tracking")
    options = ["--artifacts-destination", str(folder / "artifacts")]
    with mlflow_server(mlflow_python, folder, options, {}) as uri:
        yield MLflow(mlflow_python, uri, log_models(mlflow_python, uri, folder / "client"), folder)


@pytest.fixture(scope="session")
def guarded_server(
    newest_mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MLflow]:
    """A tracking server that wants a user name and a password."""
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "k"}
    options = ["--artifacts-destination", str(folder / "artifacts"), "--app-name", "basic-auth"]
    with mlflow_server(newest_mlflow_python, folder, options, environment) as uri:
        credentials = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        # Each request costs a slow hash of the password, so one version has to do.
        made = log_models(newest_mlflow_python, uri, folder / "client", versions=1, **credentials)
        yield MLflow(newest_mlflow_python, uri, made, folder)


@pytest.fixture(scope="session")
def stores_python(launcher_home: Path) -> Path:
    """The Python of an environment with this project, all its store extras, and emulators."""
    emulators = ["moto[server]", "gcp-storage-emulator"]
    return Path(build(launcher_home, None, ["-e", f"{ROOT}[s3,gcs,azure,hdfs]", *emulators]))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty launcher home, for tests that count transfers."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LAUNCHER_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts; as many of them as by default."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.02")
    # Neither a proxy nor credentials of whoever runs the tests.
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", os.devnull)
