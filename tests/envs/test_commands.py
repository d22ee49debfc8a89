"""`launcher envs ...` and `launcher lock`, as processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envs import Environment, EnvSpec, EnvStore, prepare
from launcher.cli.environments import human_age

Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def built(at_hand: Callable[..., Environment]) -> Environment:
    environment = at_hand("banana")
    with environment.in_use():
        return environment


@pytest.fixture
def launch(home: Path) -> Launch:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LAUNCHER_HOME": str(home)},
        )

    return run


def test_list_shows_what_is_there(
    store: EnvStore, local_spec: Callable[..., EnvSpec], launch: Launch
) -> None:
    built = prepare(local_spec("banana"), store=store)
    with built.in_use():
        pass
    rows = launch("envs", "list").stdout.splitlines()
    assert rows[0].split("  ")[0] == "KEY"
    assert rows[1].split()[:4] == [built.key, "virtualenv", built.python_version, "2"]
    assert rows[2].startswith("1 environment,")
    listed = json.loads(launch("envs", "list", "--json").stdout)
    (entry,) = listed["environments"]
    assert (entry["key"], entry["packages"], entry["users"]) == (built.key, 2, [])
    assert entry["size"] == listed["total_size"] > 10_000
    assert abs(entry["created"] - time.time()) < 600


def test_show_prints_the_packages_and_their_hashes_on_request(
    built: Environment, launch: Launch
) -> None:
    shown = launch("envs", "show", built.key[:6]).stdout
    assert f"key:            {built.key}" in shown
    assert "2 packages" in shown
    assert "banana==1.0" in shown
    assert "sha256" not in shown
    locked = launch("envs", "show", built.key, "--lock").stdout
    assert "banana==1.0 \\\n    --hash=sha256:" in locked
    assert json.loads(launch("envs", "show", built.key, "--json").stdout)["key"] == built.key


def test_path_and_run(built: Environment, launch: Launch) -> None:
    assert launch("envs", "path", built.key).stdout.strip() == str(built.path)
    code = "import banana, sys, os; print(sys.prefix, os.environ['VIRTUAL_ENV'])"
    ran = launch("envs", "run", built.key, "--", "python", "-c", code)
    assert ran.stdout.split() == [str(built.path)] * 2
    assert launch("envs", "run", built.key, "--", "python", "-c", "exit(7)").returncode == 7
    missing = launch("envs", "run", built.key, "--", "no-such-command")
    assert missing.returncode == 2
    assert "There is no command no-such-command" in missing.stderr


def test_an_environment_is_in_use_while_a_command_runs_in_it(
    built: Environment, launch: Launch, home: Path
) -> None:
    command = [sys.executable, "-m", "launcher", "envs", "run", built.key, "--", "python", "-c"]
    command.append("print('up', flush=True); input()")
    environ = {**os.environ, "LAUNCHER_HOME": str(home)}
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "up\n"
        assert str(user.pid) in launch("envs", "list").stdout
        refused = launch("envs", "remove", built.key)
        assert refused.returncode == 1
        assert f"is used by process {user.pid}" in refused.stderr
        assert launch("envs", "prune", "--max-size", "0").stdout == "nothing to remove\n"
        user.communicate("\n")
    assert launch("envs", "remove", built.key).stdout.startswith(f"removed {built.key} (")
    assert launch("envs", "list").stdout == "no environments yet\n"


def test_prune_says_what_it_would_do(built: Environment, launch: Launch, store: EnvStore) -> None:
    used = time.time() - 40 * 86400
    os.utime(store.folder(built.key), (used, used))
    assert launch("envs", "prune", "--older-than", "60d").stdout == "nothing to remove\n"
    would = launch("envs", "prune", "--older-than", "30d", "--dry-run").stdout
    assert would.startswith(f"would remove {built.key} (")
    assert would.endswith("not used for 40 days\n")
    done = json.loads(launch("envs", "prune", "--older-than", "30d", "--json").stdout)
    assert [removal["name"] for removal in done] == [built.key]
    assert not store.folder(built.key).exists()


def test_what_is_not_there_and_what_is_not_understood(launch: Launch) -> None:
    for command in ("show", "path", "remove"):
        done = launch("envs", command, "feed")
        assert done.returncode == 2
        assert "There is no environment feed." in done.stderr
    assert launch("envs", "prune", "--older-than", "soon").returncode == 2
    assert launch("envs", "prune", "--max-size", "big").returncode == 2


def test_lock_writes_a_lockfile_beside_the_model(
    tmp_path: Path, wheels: Path, launch: Launch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text(
        "flavors:\n  python_function:\n    env:\n      virtualenv: python_env.yaml\n"
        "    loader_module: mlflow.pyfunc.model\n    python_version: "
        f"{'{}.{}.{}'.format(*sys.version_info)}\n"
        "utc_time_created: '2024-02-20 12:00:00.000000'\n"
    )
    (model / "python_env.yaml").write_text(
        f"python: {'{}.{}.{}'.format(*sys.version_info)}\nbuild_dependencies: []\n"
        "dependencies:\n- -r requirements.txt\n"
    )
    shutil.copytree(wheels, model / "wheels")
    (model / "requirements.txt").write_text("--find-links wheels\nbanana\n")
    done = launch("lock", "-m", str(model), "--resolve-as-of", "today")
    assert done.returncode == 0, done.stderr
    assert "pylock.toml: " in done.stdout
    assert 'name = "banana"' in (model / "pylock.toml").read_text()


def test_ages_are_written_for_people() -> None:
    assert human_age(90) == "1 minute ago"
    assert human_age(3 * 86400) == "3 days ago"
