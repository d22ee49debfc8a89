"""One deployment's life, with tiny servers: real processes, pipes, signals and sockets."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest
import requests

from launcher.errors import ServerCrashedError, ServerNotReadyError
from launcher.supervision.deployment import Deployment, Limits
from launcher.supervision.process import Command
from launcher.supervision.supervisor import Supervisor
from tests.launcher.supervision.tiny_server import (
    BINDING,
    Life,
    TinyDeployment,
    announcing,
)


def test_it_becomes_ready_and_stops(tmp_path: Path) -> None:
    deployment = TinyDeployment(announcing(tmp_path))
    life = Life(tmp_path, deployment)
    states = [life.model.state]

    def stop() -> None:
        states.append(life.model.state)
        life.stop()

    life.observer.at_readiness = [stop]
    life.run()
    assert states == ["restarting", "ready"]
    assert life.model.state == "stopping"
    assert life.observer.told == ["ready", "stopping"]
    assert deployment.configured == [(0, 0)]
    assert deployment.closed == 1
    assert "begun" in life.logged


def kill(life: Life) -> None:
    [pid] = life.model.pids
    os.kill(pid, signal.SIGKILL)


def test_a_crash_is_followed_by_a_restart(tmp_path: Path) -> None:
    deployment = TinyDeployment(announcing(tmp_path))
    life = Life(tmp_path, deployment)
    life.observer.at_readiness = [lambda: kill(life), life.stop]
    life.run()
    assert life.observer.told == ["ready", "ready", "stopping"]
    assert deployment.configured == [(0, 0), (1, 0)]
    assert life.reported[0] == "the server was killed by SIGKILL; restarting it in 0.5 s"


def test_a_start_that_fails_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    good = announcing(tmp_path)
    bad = good._replace(argv=(str(tmp_path / "missing"),))
    life = Life(tmp_path, TinyDeployment(good, bad, bad, good))
    life.observer.at_readiness = [lambda: kill(life), life.stop]
    life.run()
    assert life.observer.told == ["ready", "ready", "stopping"]
    failed = [line for line in life.reported if "cannot be started" in line]
    assert [line.rpartition("; ")[2] for line in failed] == [
        "trying again in 0.5 s",
        "trying again in 1 s",
    ]


def test_a_first_start_that_fails_is_an_error(tmp_path: Path) -> None:
    missing = announcing(tmp_path)._replace(argv=(str(tmp_path / "missing"),))
    deployment = TinyDeployment(missing)
    with pytest.raises(ServerNotReadyError, match="cannot be started"):
        Life(tmp_path, deployment).run()
    assert deployment.closed == 1


def test_what_crashes_too_often_is_given_up(tmp_path: Path) -> None:
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)), limits=Limits(restarts=1))
    life.observer.at_readiness = [lambda: kill(life), lambda: kill(life)]
    with pytest.raises(ServerCrashedError, match="2 times within 60 s"):
        life.run()


@pytest.mark.parametrize(
    ("how", "message"), [("fail", "no such thing"), ("exit", "exited with code 7 before")]
)
def test_what_never_becomes_ready_is_an_error(tmp_path: Path, how: str, message: str) -> None:
    (tmp_path / how).touch()
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)))
    with pytest.raises(ServerNotReadyError, match=message):
        life.run()
    assert ("Traceback: here" in life.logged) is (how == "fail")


@pytest.mark.parametrize(
    "line",
    [b"hello", b"{}", b"[1]", b'{"event": []}', b'{"event": "loaded"}', b"\xff" * 100, b"[" * 9000],
)
def test_a_line_that_is_no_event_is_dropped_and_logged(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "garbage").write_bytes(line + b"\n")
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)))
    life.observer.at_readiness = [life.stop]
    life.run()
    assert life.observer.told == ["ready", "stopping"]
    assert "a line of the status pipe is dropped" in life.logged


def test_what_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stubborn").touch()
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)), limits=Limits(graceful=0.2))
    life.observer.at_readiness = [life.stop]
    life.run()
    assert life.reported[-1] == "killed: it did not stop within 0.2 s"


def test_a_reload_moves_to_the_next_deployment(tmp_path: Path) -> None:
    first, second = (TinyDeployment(announcing(tmp_path)) for _ in range(2))
    life = Life(tmp_path, first, redeploy=lambda: second)
    life.observer.at_readiness = [life.model.reload]
    life.observer.at_reload = life.stop
    life.run()
    assert life.observer.told == ["ready", "reloading", "ready", "reloaded: None", "stopping"]
    assert second.configured == [(0, 1)]
    assert first.closed == second.closed == 1


def test_a_reload_that_fails_leaves_the_old_server(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "exit").touch()
    first, second = (
        TinyDeployment(announcing(tmp_path)),
        TinyDeployment(announcing(tmp_path / "bad")),
    )
    missing = TinyDeployment(announcing(tmp_path)._replace(argv=(str(tmp_path / "missing"),)))
    candidates = iter([second, missing])

    def redeploy() -> Deployment:
        try:
            return next(candidates)
        except StopIteration:
            raise OSError("nothing to be had") from None

    life = Life(tmp_path, first, redeploy=redeploy)
    states = []

    def again() -> None:
        states.append(life.model.state)
        if len(states) < 3:
            life.model.reload()
        else:
            life.stop()

    life.observer.at_readiness = [life.model.reload]
    life.observer.at_reload = again
    life.run()
    ends = [line for line in life.observer.told if line.startswith("reloaded")]
    assert "exited with code 7" in ends[0]
    assert "missing" in ends[1]
    assert "nothing to be had" in ends[2]
    assert states == ["ready"] * 3
    assert (first.closed, second.closed, missing.closed) == (1, 1, 1)


def test_what_cannot_serve_side_by_side_is_not_reloaded(tmp_path: Path) -> None:
    deployment = TinyDeployment(announcing(tmp_path, side_by_side=False))
    life = Life(tmp_path, deployment, redeploy=lambda: deployment)
    life.observer.at_readiness = [life.model.reload]
    life.observer.at_reload = life.stop
    life.run()
    refused = "reloaded: this engine cannot start a second server beside the first"
    assert life.observer.told == ["ready", refused, "stopping"]


def test_a_program_that_binds_the_port_itself_is_ready_once_it_answers(tmp_path: Path) -> None:
    deployment = TinyDeployment()
    life = Life(tmp_path, deployment)
    port = life.socket.getsockname()[1]
    argv = (sys.executable, "-c", BINDING, str(port))
    deployment.commands.append(Command(argv, os.environ, ping_path="/well"))
    answers = []

    def ask() -> None:
        answers.append(requests.get(f"http://127.0.0.1:{port}/well", timeout=60).status_code)
        kill(life) if len(answers) == 1 else life.stop()

    life.observer.at_readiness = [ask, ask]
    life.run()
    assert answers == [200, 200]


def test_a_handler_that_fails_is_logged_and_the_loop_goes_on(tmp_path: Path) -> None:
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)))

    def fail() -> None:
        life.loop.post(life.stop)
        raise ZeroDivisionError("not of this world")

    life.observer.at_readiness = [fail]
    life.run()
    assert life.observer.told == ["ready", "stopping"]
    assert "ZeroDivisionError: not of this world" in life.logged
    assert "Traceback" in life.logged
    assert any("which goes on: ZeroDivisionError" in line for line in life.reported)


def test_a_handler_that_fails_for_want_of_descriptors_ends_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path, TinyDeployment(announcing(tmp_path)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def go_on() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        life.stop()

    def fail() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        threading.Timer(0.3, life.loop.post, [go_on]).start()
        os.pipe()

    life.observer.at_readiness = [fail]
    try:
        life.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert any("which goes on: OSError" in line for line in life.reported)


def test_what_cannot_be_closed_at_the_end_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = TinyDeployment(announcing(tmp_path))

    def fail() -> None:
        raise OSError("read-only by now")

    monkeypatch.setattr(deployment, "close", fail)
    life = Life(tmp_path, deployment)
    life.observer.at_readiness = [life.stop]
    life.run()
    assert "OSError: read-only by now" in life.logged


def test_several_models_live_behind_one_loop(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = Life(tmp_path / "one", TinyDeployment(announcing(tmp_path)))
    second = Life(tmp_path / "two", TinyDeployment(announcing(tmp_path)), loop=first.loop)
    first.observer.at_readiness = [lambda: kill(first), first.stop]
    second.observer.at_readiness = [second.stop]
    loop: Supervisor = first.loop
    loop.run(first.model, second.model)
    assert first.observer.told == ["ready", "ready", "stopping"]
    assert second.observer.told == ["ready", "stopping"]
    first.close()
    second.close()


def test_signals_reach_the_models(tmp_path: Path) -> None:
    deployment = TinyDeployment(announcing(tmp_path))
    life = Life(tmp_path, deployment, redeploy=lambda: TinyDeployment(announcing(tmp_path)))
    life.observer.at_readiness = [lambda: os.kill(os.getpid(), signal.SIGHUP)]
    life.observer.at_reload = lambda: os.kill(os.getpid(), signal.SIGTERM)
    life.run()
    assert life.observer.told[-2:] == ["reloaded: None", "stopping"]
    assert "SIGTERM: stopping, requests in flight are finished" in life.reported
