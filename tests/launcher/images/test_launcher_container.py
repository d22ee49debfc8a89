"""The launcher as a container's command: variables of platforms, and where the model is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli import container
from tests.launcher.artifacts.servers import free_port
from tests.launcher.images.tiny_model import tiny_model


def plan(model: Path, **variables: str) -> str:
    """What ``serve`` in the container would do."""
    environ = {**os.environ, "MODEL_URI": str(model), "LAUNCHER_SERVE_ENV_MANAGER": "local"}
    ended = subprocess.run(
        [sys.executable, "-m", "launcher.cli.container", "serve", "--dry-run"],
        env={**environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_options_are_variables(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    said = plan(model, MLFLOW_HOST="0.0.0.0", LAUNCHER_SERVE_WORKERS="3")
    assert f"model         {model}" in said
    assert "server        0.0.0.0:8080, 3 worker(s)" in said
    said = plan(model, PORT="9000", MLFLOW_MODELS_WORKERS="2")
    assert "server        127.0.0.1:9000, 2 worker(s)" in said
    said = plan(model, MLFLOW_MODELS_WORKERS="2", LAUNCHER_SERVE_WORKERS="3")
    assert ", 3 worker(s)" in said
    assert ":7000," in plan(model, PORT="9000", LAUNCHER_SERVE_PORT="7000")


def test_the_model_is_where_a_platform_mounts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = (tmp_path / "sagemaker", tmp_path / "kserve")
    monkeypatch.setattr(container, "MODEL_FOLDERS", folders)
    monkeypatch.setattr(container, "main", lambda *_, **__: None)
    environ: dict[str, str] = {}
    container.start([], environ)
    assert environ["LAUNCHER_SERVE_MODEL_URI"] == str(folders[0])
    tiny_model(folders[1])
    environ = {}
    container.start(["serve"], environ)
    assert environ["LAUNCHER_SERVE_MODEL_URI"] == str(folders[1])
    environ = {"MODEL_URI": "models:/iris/3"}
    container.start(["serve"], environ)
    assert environ["LAUNCHER_SERVE_MODEL_URI"] == "models:/iris/3"


def test_the_health_check_says_no_where_nothing_listens() -> None:
    environ = {**os.environ, "PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-m", "launcher.cli.container", "ping"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, "not ready: nothing listens there\n")
