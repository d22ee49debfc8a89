"""Fixtures that run the launcher."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.launcher_process import Launcher, ObedientModel, run_to_end

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def iris() -> Path:
    """The quick-start model."""
    return ROOT / "fixtures" / "iris"


@pytest.fixture
def launch() -> Iterator[Callable[..., Launcher]]:
    """Start launchers that end with the test."""
    started: list[Launcher] = []

    def start(*arguments: str | Path, **options: Any) -> Launcher:
        started.append(Launcher(*arguments, **options))
        return started[-1]

    yield start
    for launcher in started:
        if launcher.process.poll() is None:
            launcher.process.kill()
            launcher.process.wait()


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the launcher to its end."""
    return run_to_end


@pytest.fixture
def obedient(tmp_path: Path) -> ObedientModel:
    return ObedientModel(tmp_path / "obedient")


@pytest.fixture
def fresh_home(tmp_path: Path) -> dict[str, str]:
    """A launcher home of the test's own; only the installer's cache is shared."""
    return {"LAUNCHER_HOME": str(tmp_path / "home"), "UV_CACHE_DIR": os.environ["UV_CACHE_DIR"]}
