"""Locked, offline and wheelhouse environments, moved models: through the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.launcher.images.tiny_model import tiny_model
from tests.launcher.launcher_process import Launcher, ObedientModel, command, invoke

Launch = Callable[..., Launcher]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_a_model_is_installed_from_the_lock_that_it_carries(
    launch: Launch, run: Run, obedient: ObedientModel
) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.16.0\n")
    locked = run("lock", "-m", obedient.path)
    assert locked.returncode == 0, locked.stderr
    assert (obedient.path / "pylock.toml").is_file()
    launcher = launch("serve", "-m", obedient.path, "-p", "0")
    assert invoke(launcher.ready(), command("hello")).json() == {"predictions": ["done"]}
    assert "resolving" not in launcher.output
    assert launcher.stop() == 0


def test_a_lock_with_another_hash_is_refused_by_name(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.15.0\n")
    assert run("lock", "-m", obedient.path).returncode == 0
    lock = obedient.path / "pylock.toml"
    blocks = lock.read_text().split("[[packages]]")
    [at] = [n for n, block in enumerate(blocks) if 'name = "six"' in block]
    blocks[at] = re.sub(r'sha256 = "\w{64}"', f'sha256 = "{"0" * 64}"', blocks[at])
    lock.write_text("[[packages]]".join(blocks))
    done = run("prepare-env", "-m", obedient.path)
    assert done.returncode == 3
    assert "six" in done.stderr.split("Error: ")[1]
    assert "hash" in done.stderr.split("Error: ")[1]


@pytest.mark.slow
def test_a_wheelhouse_builds_without_an_index(
    run: Run, obedient: ObedientModel, tmp_path: Path, fresh_home: dict[str, str]
) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.16.0\n")
    house = tmp_path / "wheels"
    filled = run("prepare-env", "-m", obedient.path, "--download", house)
    assert filled.returncode == 0, filled.stderr
    assert list(house.glob("six-1.16.0-*.whl"))
    environ = {**os.environ, **fresh_home, "UV_CACHE_DIR": str(tmp_path / "empty-cache")}
    environ["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/no-index-here"
    built = run("prepare-env", "-m", obedient.path, "--wheelhouse", house, env=environ)
    assert built.returncode == 0, built.stderr


def test_offline_says_what_is_missing(
    run: Run, obedient: ObedientModel, tmp_path: Path, fresh_home: dict[str, str]
) -> None:
    environ = {**os.environ, **fresh_home, "UV_CACHE_DIR": str(tmp_path / "empty-cache")}
    done = run("prepare-env", "-m", obedient.path, "--offline", env=environ)
    assert done.returncode == 3
    error = done.stderr.split("Error: ")[1]
    assert "cannot be resolved" in error
    assert "network" in error or "offline" in error


def test_a_folder_that_moves_is_served_anew(launch: Launch, obedient: ObedientModel) -> None:
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", "--watch", "0.2")
    )
    url = launcher.ready()
    assert requests.get(f"{url}/info", timeout=60).json()["model"]["mlflow_version"] is None
    mlmodel = obedient.path / "MLmodel"
    changed = obedient.path.with_name("changed")
    shutil.copy(mlmodel, changed)
    changed.write_text(changed.read_text() + "mlflow_version: 9.9.9\n")
    changed.replace(mlmodel)
    launcher.wait_for("has moved")
    launcher.wait_for("reloaded; ")
    assert requests.get(f"{url}/info", timeout=60).json()["model"]["mlflow_version"] == "9.9.9"
    assert launcher.stop() == 0


def test_the_version_that_was_served_is_not_kept(
    launch: Launch, run: Run, obedient: ObedientModel, tmp_path: Path, fresh_home: dict[str, str]
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", obedient.path))
    environ = {**os.environ, **fresh_home}

    def users() -> list[list[int]]:
        listed = json.loads(run("models", "list", "--json", env=environ).stdout)["models"]
        return [each["in_use_by"] for each in sorted(listed, key=lambda each: each["created"])]

    launcher = launch(
        *("serve", "-m", archive, "-p", "0", "--env-manager", "local", "--watch", "0.2"),
        environ=fresh_home,
    )
    launcher.ready()
    assert users() == [[launcher.process.pid]]
    (obedient.path / "another").touch()
    changed = Path(shutil.make_archive(str(tmp_path / "changed"), "zip", obedient.path))
    changed.replace(archive)
    launcher.wait_for("reloaded; ")
    while (used := users()) != [[], [launcher.process.pid]]:  # once the old server has ended
        assert launcher.process.poll() is None, used
    assert launcher.stop() == 0


def test_lock_touches_no_network_where_the_variable_says_so(run: Run) -> None:
    environ = {**os.environ, "LAUNCHER_OFFLINE": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = run("lock", "-m", "models:/never-fetched/1", env=environ)
    assert done.returncode == 2
    assert "offline" in done.stderr


def test_the_lock_of_a_downloaded_model_goes_where_it_is_asked_for(
    run: Run, obedient: ObedientModel, tmp_path: Path
) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.16.0\n")
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", obedient.path)
    refused = run("lock", "-m", archive)
    assert refused.returncode == 2
    assert "would be lost" in refused.stderr
    assert "--output" in refused.stderr
    done = run("lock", "-m", archive, "-o", tmp_path / "locks" / "six", "--json")
    assert done.returncode == 0, done.stderr
    lock = tmp_path / "locks" / "six" / "pylock.toml"
    assert json.loads(done.stdout)["path"] == str(lock)
    assert 'name = "six"' in lock.read_text()


@pytest.mark.parametrize("python", ["3.6.15", "2.7"])
def test_a_python_that_the_server_does_not_run_on_is_said_at_once(
    run: Run, tmp_path: Path, python: str
) -> None:
    model = tiny_model(tmp_path / "tiny", python=python)
    done = run("serve", "-m", model)
    assert done.returncode == 2
    assert f"needs Python >=3.7, but MLmodel has python_version: '{python}'" in done.stderr
    assert "resolving" not in done.stderr
    assert run("serve", "-m", model, "--env-manager", "local", "--dry-run").returncode == 0


def test_a_model_larger_than_allowed_is_refused(run: Run, iris: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "iris"), "zip", iris)
    done = run("serve", "-m", archive, "-p", "0", "--max-model-size", "1KB")
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert run("lock", "-m", archive, "--max-model-size", "1KB").returncode == 2
    bad = run("serve", "-m", archive, "-p", "0", "--max-model-size", "much")
    assert bad.returncode == 2
    assert "much" in bad.stderr
