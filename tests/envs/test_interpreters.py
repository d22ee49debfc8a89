"""Finding a Python: real ones, traps and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envs import EnvError
from envs.building.context import Context
from envs.building.interpreters import Interpreter, discover, find_interpreter, probe
from envs.building.log import BuildLog

RUNNING = "{}.{}.{}".format(*sys.version_info)


@pytest.fixture
def context(home: Path) -> Context:
    return Context(home=home, log=BuildLog(home / "log"), python_downloads=False)


def broken_python(path: Path) -> Path:
    """Like a pyenv shim for a version that is not enabled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "pyenv: {path.name}: command not found" >&2\nexit 127\n')
    path.chmod(0o755)
    return path


def test_no_wish_and_the_running_version_are_the_running_interpreter(context: Context) -> None:
    for wanted in (None, RUNNING):
        found = find_interpreter(wanted, context)
        assert found.version == RUNNING
        assert os.path.realpath(found.path) == found.path
    assert not context.home.exists()  # nothing had to be searched or written


@pytest.mark.parametrize("minor", ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_pythons_of_this_machine_are_found_by_minor_version(
    context: Context, interpreter: Callable[[str], Interpreter], minor: str
) -> None:
    interpreter(minor)  # skips where there is none
    found = find_interpreter(minor, context)
    told = subprocess.run(
        [found.path, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == found.version
    assert found.minor == minor
    assert find_interpreter(found.version, context) == found


def test_a_shim_that_does_not_run_is_passed_over(
    context: Context,
    interpreter: Callable[[str], Interpreter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = interpreter("3.9")
    broken_python(tmp_path / "shims" / "python3.9")
    broken_python(tmp_path / "bin" / "python3.9")
    path = f"{tmp_path}/shims{os.pathsep}{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    assert find_interpreter(real.version, context) == real


def test_a_missing_patch_gives_the_newest_of_the_same_minor_and_says_so(
    context: Context, interpreter: Callable[[str], Interpreter]
) -> None:
    newest = interpreter("3.9")
    said: list[str] = []
    found = find_interpreter("3.9.999", replace(context, report=said.append))
    assert found == newest
    assert said == [
        f"Python 3.9.999 is not on this machine: using {newest.version} ({newest.path})"
    ]


def test_a_specifier_gives_the_newest_that_fits(
    context: Context, interpreter: Callable[[str], Interpreter]
) -> None:
    wanted = interpreter("3.8")
    assert find_interpreter(">=3.8,<3.9", context) == wanted


def test_an_unknown_version_lists_what_was_looked_at(context: Context) -> None:
    with pytest.raises(EnvError) as caught:
        find_interpreter("3.99.1", context)
    assert caught.value.message.startswith("There is no Python 3.99.1 on this machine (found ")
    assert f"{RUNNING} (running)" in caught.value.message
    assert caught.value.hint
    with pytest.raises(EnvError, match="'three' is not a Python version"):
        find_interpreter("three", context)


def test_a_download_is_tried_where_it_is_allowed_only(context: Context) -> None:
    """Of a version that no index of Pythons has, so that nothing is installed anywhere."""
    said: list[str] = []
    allowed = replace(context, python_downloads=True, report=said.append)
    with pytest.raises(EnvError, match="uv could not install it"):
        find_interpreter("3.99", allowed)
    assert said == ["Python 3.99 is not on this machine: installing it with uv"]
    said.clear()
    with pytest.raises(EnvError):
        find_interpreter("3.99", replace(allowed, offline=True))
    assert said == []


def test_what_was_found_is_remembered_until_its_file_changes(
    context: Context, interpreter: Callable[[str], Interpreter]
) -> None:
    first = interpreter("3.8")
    find_interpreter("3.8", context)
    # The log has every command that is run: nothing is, the second time.
    before = (context.home / "log").read_text()
    assert find_interpreter("3.8", context) == first
    assert (context.home / "log").read_text() == before
    memory = next(context.home.glob("interpreters*.json"))
    memory.write_text(memory.read_text().replace('"version": "3.8', '"version": "3.6'))
    assert find_interpreter("3.8", context).version.startswith("3.6")  # it is what is read
    memory.write_text("{ half a file")
    assert find_interpreter("3.8", context) == first


def test_a_version_that_appears_later_is_noticed(
    context: Context,
    interpreter: Callable[[str], Interpreter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = interpreter("3.9")
    wanted = f"3.9.{int(newest.version.split('.')[2]) - 1}"
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    (tmp_path / "versions").mkdir()
    monkeypatch.setenv("PATH", f"{Path(newest.path).parent}")
    assert find_interpreter(wanted, context) == newest
    (tmp_path / "versions" / wanted).mkdir()
    said: list[str] = []
    find_interpreter(wanted, replace(context, report=said.append))
    assert said  # searched again, since pyenv's folder has changed


def test_a_virtual_environment_on_path_leads_to_its_base(
    context: Context,
    interpreter: Callable[[str], Interpreter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = interpreter("3.9")
    subprocess.run([base.path, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    monkeypatch.setenv("PATH", str(tmp_path / "env" / "bin"))
    assert probe(str(tmp_path / "env" / "bin" / "python"), context) == base
    listed = {candidate.path for candidate in discover(context)}
    assert listed


def test_a_copied_virtual_environment_is_not_taken_for_a_base(
    context: Context, interpreter: Callable[[str], Interpreter], tmp_path: Path
) -> None:
    base = interpreter("3.9")
    env = tmp_path / "env"
    subprocess.run([base.path, "-m", "venv", "--copies", "--without-pip", env], check=True)
    assert probe(str(env / "bin" / "python"), context) == base
