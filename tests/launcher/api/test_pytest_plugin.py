"""A model's own repository, whose tests have the model served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.launcher.api.conftest import make_echo
from tests.launcher.launcher_process import LONGEST

CONFIGURATION = """
[pytest]
served_model = model
served_model_options =
    env-manager = local
    access-log
"""
TESTS = """
import os
import pandas as pd
import pytest
import launcher

def test_answers(served_model):
    assert served_model.predict(pd.DataFrame({"a": [1, 2]}))["a"].tolist() == [1, 2]

def test_same_server(served_model, serve_model):
    assert serve_model("model", env_manager="local") is serve_model("model", env_manager="local")
    assert serve_model("model", env_manager="local") is not served_model

@pytest.mark.parametrize("number", range(4))
def test_where(served_model, number):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(f"{os.getpid()} {served_model.url}\\n")

def test_refused(served_model):
    assert served_model.predict([{"a": 1}])["a"].tolist() == [2]
"""
COSTS = """
import sys

def test_costs_nothing():
    ours = {name for name in sys.modules if name.startswith("launcher.")}
    assert ours <= {"launcher.api", "launcher.api.pytest_plugin"}
    assert not {"click", "pandas", "numpy", "requests", "asyncio", "psutil"} & set(sys.modules)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    make_echo(tmp_path / "model")
    (tmp_path / "pytest.ini").write_text(CONFIGURATION)
    (tmp_path / "test_model.py").write_text(TESTS)
    return tmp_path


def run_pytest(
    repository: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch
) -> subprocess.CompletedProcess[str]:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEEN", str(repository / "seen"))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=repository, capture_output=True, text=True, check=False, timeout=LONGEST,
    )  # fmt: skip


def test_a_repository_tests_its_model_as_it_will_be_served(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_pytest(repository, monkeypatch=monkeypatch)
    assert "1 failed, 6 passed" in done.stdout, done.stdout
    failure = done.stdout.partition("_ test_refused _")[2]
    assert "- Log of model -" in failure
    assert '"POST /invocations' in failure  # --access-log, and the end of the log
    assert len(set((repository / "seen").read_text().splitlines())) == 1


@pytest.mark.slow
def test_each_process_of_xdist_has_a_server(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_pytest(repository, "-n", "2", "-k", "where", monkeypatch=monkeypatch)
    assert "4 passed" in done.stdout, done.stdout
    assert len(set((repository / "seen").read_text().splitlines())) == 2


def test_it_costs_nothing_where_it_is_not_used(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "test_model.py").write_text(COSTS)
    # Plugins that are here for other reasons import what they like.
    others = ["hypothesispytest", "anyio", "xdist", "playwright"]
    blocked = [word for name in others for word in ("-p", f"no:{name}")]
    done = run_pytest(repository, *blocked, monkeypatch=monkeypatch)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_what_is_wrong_is_told_without_a_traceback(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "pytest.ini").write_text("[pytest]\n")
    done = run_pytest(repository, "-k", "answers", monkeypatch=monkeypatch)
    assert "Say which model served_model serves" in done.stdout
    assert "Traceback" not in done.stdout
    done = run_pytest(
        repository, "-k", "answers", "--served-model", "nowhere", monkeypatch=monkeypatch
    )
    assert "nowhere is not served: There is no folder" in done.stdout
    assert "site-packages" not in done.stdout
