"""MLServer under supervision: what it does not do itself when something goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from tests.launcher.launcher_process import (
    LONGEST,
    Launcher,
    ObedientModel,
    command,
    invoke,
    wait_until_gone,
)

pytestmark = pytest.mark.slow

Launch = Callable[..., Launcher]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def workers(launcher: Launcher) -> list[psutil.Process]:
    return [each for each in launcher.descendants() if "spawn_main" in " ".join(each.cmdline())]


def main_process(launcher: Launcher) -> psutil.Process:
    [child] = psutil.Process(launcher.process.pid).children()
    return child


def pid_once_it_answers(url: str) -> int:
    """The worker's process id, as soon as there is one again."""
    deadline = time.monotonic() + LONGEST
    while (answer := invoke(url, command("pid"))).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return int(answer.json()["predictions"][0])


def ask_in_vain(url: str, name: str) -> None:
    """Send a request that will have no answer."""

    def ask() -> None:
        with pytest.raises(requests.RequestException):
            invoke(url, command(name))

    threading.Thread(target=ask, daemon=True).start()


def test_what_dies_is_replaced_and_nothing_outlives_the_launcher(
    launch: Launch, run: Run, obedient: ObedientModel, launcher_home: Path, tmp_path: Path
) -> None:
    ready_file = tmp_path / "ready.json"
    before = sorted(obedient.path.rglob("*"))
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver", "--timeout", "3"),
        *("--name", "other-engine", "--ready-file", ready_file),
    )
    url = launcher.ready()
    assert json.loads(ready_file.read_text())["url"] == url
    shown = {each["pid"]: each for each in json.loads(run("ps", "--json").stdout)}
    this = shown[launcher.process.pid]
    assert (this["name"], this["state"]) == ("other-engine", "ready")

    slow = invoke(url, command("sleep 600"))
    assert slow.status_code == 500
    launcher.wait_for(r"Timeout \(0:00:03\)!")
    first = pid_once_it_answers(url)
    psutil.Process(first).kill()
    second = pid_once_it_answers(url)
    assert second != first

    launcher.send(signal.SIGHUP)
    launcher.wait_for("not reloaded, .* cannot start a second server beside the first")

    [worker] = workers(launcher)
    worker.suspend()
    main_process(launcher).kill()
    launcher.wait_for("the server was killed by SIGKILL; restarting it in 0.5 s")
    wait_until_gone([worker])
    while launcher.lines.count(f"ready: {url}") < 2:
        assert launcher.process.poll() is None
        time.sleep(0.05)
    assert pid_once_it_answers(url) not in (first, second)
    assert list(launcher_home.glob(f"run/{launcher.process.pid}-*/deployment-1/.envs"))
    assert [each for each in sorted(obedient.path.rglob("*")) if "pycache" not in str(each)] == [
        each for each in before if "pycache" not in str(each)
    ]

    family = launcher.descendants()
    main_process(launcher).suspend()
    for each in workers(launcher):
        each.suspend()
    launcher.process.kill()
    wait_until_gone(family)


def test_a_stop_that_hangs_is_ended(launch: Launch, obedient: ObedientModel) -> None:
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver", "--timeout", "0"),
        *("--graceful-timeout", "2"),
    )
    url = launcher.ready()
    obedient.hold("predict")
    ask_in_vain(url, "meet")
    obedient.wait_until_held("predict")
    family = launcher.descendants()
    assert launcher.stop() == 0
    assert "killed: it did not stop within 2 s" in launcher.output
    wait_until_gone(family)


def test_requests_in_flight_are_finished_at_a_stop(launch: Launch, obedient: ObedientModel) -> None:
    launcher = launch("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver")
    url = launcher.ready()
    obedient.hold("predict")
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(invoke(url, command("meet")).status_code))
        for _ in range(2)
    ]
    for each in asking:
        each.start()
    obedient.wait_until_held("predict")
    launcher.send(signal.SIGTERM)
    launcher.wait_for("Waiting for connections to close")
    # The first to be let go answers, and so does the one that waited for the worker.
    (obedient.path / "predict.here").unlink()
    obedient.let_go("predict")
    obedient.wait_until_held("predict")
    obedient.let_go("predict")
    assert launcher.wait() == 0
    for each in asking:
        each.join()
    assert answers == [200, 200]
    assert "killed" not in launcher.output


def test_a_start_that_fails_with_code_0_is_a_failure(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.mark("load.raise")
    launcher = launch("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver")
    assert launcher.wait() == 4
    assert "the weights are damaged" in launcher.output
    assert "Error: The server exited with code 0 before it was ready." in launcher.output
    assert not any(line.startswith("ready:") for line in launcher.lines)
