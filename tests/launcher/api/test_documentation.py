"""The page on the API does what it says: as a notebook, as a repository, in CI."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launcher.launcher_process import LONGEST

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "python-api.md"
GITHUB, GITLAB = ROOT / "docs/ci/github-actions.yml", ROOT / "docs/ci/gitlab-ci.yml"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def cells() -> list[str]:
    """Those of the page's blocks that are no file of a repository."""
    return [block for block in blocks("python") if not block.startswith("# tests/")]


async def run_cell(cell: str, namespace: dict[str, Any]) -> None:
    """As a notebook does, whose cells may await; compare values with the comments beside them."""
    lines = cell.splitlines()
    for node in ast.parse(cell).body:
        source = ast.get_source_segment(cell, node)
        assert source is not None
        promised = lines[(node.end_lineno or 0) - 1].partition("  # ")[2]
        if promised:
            assert repr(eval(source, namespace)) == promised
            continue
        code = compile(source, PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, namespace)
        else:
            exec(code, namespace)


@pytest.mark.slow
def test_the_page_runs_as_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    async def notebook() -> None:  # a loop runs, as in Jupyter
        namespace: dict[str, Any] = {}
        for cell in cells():
            await run_cell(cell, namespace)
        assert namespace["environment"].python.is_file()

    monkeypatch.chdir(ROOT)
    asyncio.run(notebook())
    text = PAGE.read_text()
    assert sum("  # " in cell for cell in cells()) >= 5
    assert all((PAGE.parent / link).exists() for link in re.findall(r"\]\(([^#):]+)\)", text))


@pytest.fixture
def repository(tmp_path: Path, iris: Path) -> Iterator[Path]:
    """A model's own repository, as the page has it."""
    folder = tmp_path / "repository"
    shutil.copytree(iris, folder / "model")
    (folder / "pytest.ini").write_text(*blocks("ini"))
    (test,) = (block for block in blocks("python") if block.startswith("# tests/"))
    (folder / "tests").mkdir()
    (folder / "tests" / "test_model.py").write_text(test)
    yield folder
    shutil.rmtree(folder)


def github_steps() -> list[tuple[str, bool]]:
    """The commands of each step, and whether they run after a failure too."""
    (job,) = yaml.safe_load(GITHUB.read_text())["jobs"].values()
    return [(step["run"], step.get("if") == "always()") for step in job["steps"] if "run" in step]


def gitlab_steps() -> list[tuple[str, bool]]:
    (job,) = yaml.safe_load(GITLAB.read_text()).values()
    lines = [*job["before_script"], *job["script"]]
    return [("\n".join(lines), False), ("\n".join(job["after_script"]), True)]


def test_the_examples_for_ci_install_mlflow_and_ask_for_readiness() -> None:
    for steps in (github_steps(), gitlab_steps()):
        commands = "\n".join(text for text, _ in steps)
        assert "--install-mlflow" in commands
        assert "launcher ping " in commands
    document = yaml.safe_load(GITHUB.read_text())
    assert set(document) == {"name", True, "jobs"}  # YAML 1.1 reads `on` as true
    assert set(document["jobs"]["served"]) == {"runs-on", "env", "steps"}


@pytest.mark.slow
@pytest.mark.parametrize("steps", [github_steps, gitlab_steps])
def test_the_examples_for_ci_run(repository: Path, steps: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    # What the files set, but for the port; the launcher and pytest are installed already.
    variables.update(MODEL="model", LAUNCHER="mlmodel-launcher", PORT=str(port))
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    failed, said = False, ""
    for commands, always in steps():
        if failed and not always:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands],
            cwd=repository, env=variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=LONGEST,
        )  # fmt: skip
        said += f"$ {commands}\n{done.stdout}"
        failed = failed or done.returncode != 0
    assert not failed, said
    assert "setosa" in said
    assert "1 passed" in said
