"""Reloads of a model whose requirements have changed: a real environment is built meanwhile."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    invoke,
    wait_until_gone,
)

Launch = Callable[..., Launcher]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
CLIENTS = 4

LOADER = """
import sys
try:
    from six import __version__
except ImportError:
    __version__ = None


class Model:
    def predict(self, data):
        return [{tag!r}, __version__, sys.prefix]


def _load_pyfunc(path):
    return Model()
"""


def write(model: ObedientModel, tag: str, requirement: str) -> None:
    """Have the model's code and its requirements be these."""
    (model.path / "code" / "obedient_model.py").write_text(LOADER.format(tag=tag))
    (model.path / "requirements.txt").write_text(requirement)


def serve_old(launch: Launch, model: ObedientModel, requirement: str) -> tuple[Launcher, str, str]:
    """Serve the model, tagged old, from a virtualenv: launcher, URL, the environment's key."""
    write(model, "old", requirement)
    launcher = launch("serve", "-m", model.path, "-p", "0", "--env-manager", "virtualenv")
    url = launcher.ready()
    return launcher, url, key_at(url)


def key_at(url: str) -> str:
    key: str = requests.get(f"{url}/info", timeout=60).json()["environment"]["key"]
    return key


def key_in_ps(run: Run, launcher: Launcher) -> str:
    instances = json.loads(run("ps", "--json").stdout)
    [key] = [each["environment"] for each in instances if each["pid"] == launcher.process.pid]
    return str(key)


def answer(url: str) -> tuple[str, str, str]:
    tag, version, prefix = invoke(url, command("any")).json()["predictions"]
    return tag, version, prefix


@contextmanager
def load(url: str) -> Iterator[Counter[tuple[int, str]]]:
    """Clients that ask all the time; the statuses and tags of their answers, at the end."""
    ended = threading.Event()

    def ask() -> Counter[tuple[int, str]]:
        got: Counter[tuple[int, str]] = Counter()
        with requests.Session() as session:
            while not ended.is_set():
                reply = session.post(f"{url}/invocations", json=command("any"), timeout=60)
                got[reply.status_code, reply.json().get("predictions", ["none"])[0]] += 1
        return got

    answers: Counter[tuple[int, str]] = Counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            yield answers
        finally:
            ended.set()
        for client in clients:
            answers += client.result()


@pytest.mark.slow
def test_a_reload_moves_to_the_changed_environment_and_loses_no_request(
    launch: Launch, run: Run, obedient: ObedientModel
) -> None:
    launcher, url, old = serve_old(launch, obedient, "six==1.16.0")
    tag, version, prefix = answer(url)
    assert (tag, version) == ("old", "1.16.0")
    assert f"/{old}/" in prefix
    family = launcher.descendants()
    with load(url) as answers:
        write(obedient, "new", "six==1.17.0")
        assert run("reload", str(launcher.process.pid)).returncode == 0
        wait_until_gone(family)
    assert set(answers) == {(200, "old"), (200, "new")}
    new = key_at(url)
    assert new != old
    tag, version, prefix = answer(url)
    assert (tag, version) == ("new", "1.17.0")
    assert f"/{new}/" in prefix
    assert key_in_ps(run, launcher) == new
    # What is served is in use, what was served is not.
    listed = json.loads(run("envs", "list", "--json").stdout)["environments"]
    users = {entry["key"]: entry["users"] for entry in listed}
    assert launcher.process.pid in users[new]
    assert launcher.process.pid not in users[old]  # others may use it
    assert launcher.stop() == 0


@pytest.mark.slow
def test_a_changed_environment_that_cannot_be_built_leaves_the_old_one(
    launch: Launch, run: Run, obedient: ObedientModel
) -> None:
    launcher, url, old = serve_old(launch, obedient, "")
    with load(url) as answers:
        write(obedient, "new", "six==99.99")
        failed = run("reload", str(launcher.process.pid))
        assert failed.returncode == 1
        assert "six==99.99" in failed.stderr
    assert set(answers) == {(200, "old")}
    launcher.wait_for("not reloaded, the old server stays: .*six==99.99")
    assert key_at(url) == key_in_ps(run, launcher) == old
    # Once it can be built, it is.
    write(obedient, "repaired", "")
    assert run("reload", str(launcher.process.pid)).returncode == 0
    assert answer(url)[0] == "repaired"
    assert key_at(url) == old
    assert launcher.stop() == 0
