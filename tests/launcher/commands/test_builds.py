"""Building environments through the command line: races, kills, stops, what cannot be built."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import Launcher, ObedientModel, wait_until_gone

Launch = Callable[..., Launcher]
Run = Callable[..., subprocess.CompletedProcess[str]]


def key_in(output: str) -> str:
    found = re.search(r"^key: +(\w+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def test_ten_at_once_make_one_build(
    launch: Launch, obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    launchers = [launch("prepare-env", "-m", obedient.path, environ=fresh_home) for _ in range(10)]
    assert [launcher.wait() for launcher in launchers] == [0] * 10
    assert len({key_in(launcher.output) for launcher in launchers}) == 1
    built = [launcher for launcher in launchers if "installing" in launcher.output]
    assert len(built) == 1
    reused = [launcher for launcher in launchers if "reused" in launcher.output]
    assert len(reused) == 9
    assert any("waiting for the build" in launcher.output for launcher in reused)


def test_a_serve_after_prepare_env_builds_nothing(
    launch: Launch, run: Run, obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    prepared = run("prepare-env", "-m", obedient.path, env={**os.environ, **fresh_home})
    assert prepared.returncode == 0, prepared.stderr
    path = re.search(r"^path: +(.+)$", prepared.stdout, re.MULTILINE)
    assert path
    assert (Path(path[1]) / "bin" / "python").exists()
    home = Path(fresh_home["LAUNCHER_HOME"])
    home.chmod(0o755)
    launcher = launch("serve", "-m", obedient.path, "-p", "0", environ=fresh_home)
    launcher.ready()
    assert f"environment {key_in(prepared.stdout)} " in launcher.output
    assert "reused" in launcher.output
    assert f"warning: {home} was open to other users" in launcher.output
    folders = [home, *(each for each in home.iterdir() if each.is_dir()), *home.glob("run/[!.]*")]
    assert {each.stat().st_mode & 0o777 for each in folders} == {0o700}, folders
    assert launcher.stop() == 0


def test_a_build_killed_with_9_is_done_again(
    launch: Launch, obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    killed = launch("prepare-env", "-m", obedient.path, environ=fresh_home)
    killed.wait_for("installing")
    family = killed.descendants()
    killed.process.kill()
    wait_until_gone(family)
    again = launch("prepare-env", "-m", obedient.path, environ=fresh_home)
    assert again.wait() == 0, again.output
    assert "installing" in again.output


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["resolving", "installing"])
def test_a_stop_during_the_build_leaves_nothing(
    launch: Launch,
    obedient: ObedientModel,
    fresh_home: dict[str, str],
    signum: signal.Signals,
    phase: str,
) -> None:
    launcher = launch("serve", "-m", obedient.path, "-p", "0", environ=fresh_home)
    launcher.wait_for(phase)
    family = launcher.descendants()
    launcher.send(signum)
    assert launcher.wait() == 0, launcher.output
    wait_until_gone(family)
    environments = Path(fresh_home["LAUNCHER_HOME"]) / "envs"
    assert [path.name for path in environments.iterdir() if not path.name.startswith(".")] == []
    assert "Traceback" not in launcher.output


def test_prepare_env_that_was_stopped_does_not_look_successful(
    launch: Launch, obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    launcher = launch("prepare-env", "-m", obedient.path, environ=fresh_home)
    launcher.wait_for("resolving")
    launcher.send(signal.SIGTERM)
    assert launcher.wait() == 128 + signal.SIGTERM


def error_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error: ")]


def test_a_requirement_that_does_not_exist(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "requirements.txt").write_text("six==99.99\n")
    done = run("serve", "-m", obedient.path, "-p", "0")
    assert done.returncode == 3
    [error] = error_lines(done)
    assert "six==99.99" in error
    log = re.search(r"^Log: (.+)$", done.stderr, re.MULTILINE)
    assert log
    assert "six" in Path(log[1]).read_text()


def test_a_python_version_that_cannot_be_found(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "python_env.yaml").write_text("python: 3.99.0\ndependencies: []\n")
    environ = {**os.environ, "LAUNCHER_OFFLINE": "1"}
    done = run("serve", "-m", obedient.path, "-p", "0", env=environ)
    assert done.returncode == 3
    [error] = error_lines(done)
    assert "3.99.0" in error


def test_a_full_disk(run: Run, obedient: ObedientModel, small_disk: Path) -> None:
    environ = {**os.environ, "LAUNCHER_HOME": str(small_disk / "home")}
    done = run("serve", "-m", obedient.path, "-p", "0", env=environ)
    assert done.returncode == 3
    [error] = error_lines(done)
    assert "disk" in error or "space" in error
    environments = small_disk / "home" / "envs"
    assert [path.name for path in environments.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("no/such/folder", "no/such/folder"),
        ("dbfs://host/model", "dbfs"),
        ("file:///no/such/folder", "/no/such/folder"),
    ],
)
def test_a_model_that_is_not_there(run: Run, uri: str, words: str) -> None:
    done = run("serve", "-m", uri, "-p", "0")
    assert done.returncode == 2
    [error] = error_lines(done)
    assert words in error


def test_a_taken_port_is_an_error_before_any_work(run: Run, obedient: ObedientModel) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "-m", obedient.path, "-p", str(taken.getsockname()[1]))
    assert done.returncode == 2
    [error] = error_lines(done)
    assert "is taken" in error
    assert "environment" not in done.stderr


def test_a_day_that_is_none_is_refused(run: Run, obedient: ObedientModel) -> None:
    done = run("serve", "-m", obedient.path, "-p", "0", "--resolve-as-of", "yesterday")
    assert done.returncode == 3
    [error] = error_lines(done)
    assert "yesterday" in error
