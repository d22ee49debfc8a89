"""Serving on a unix socket: bound early, replaced where its server has died, removed at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from launcher.errors import UsageError
from launcher.supervision.listening_socket import listening_socket, socket_url
from launcher.supervision.probes import ping, ping_url
from launcher.supervision.server_address import ServerAddress
from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    run_with,
    wait_until_gone,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "iris.sock"


def bind(path: Path) -> None:
    with listening_socket("", 0, str(path)):
        pass


def test_it_is_bound_without_listening_and_removed_at_the_end(path: Path) -> None:
    before = os.umask(0o027)
    try:
        with listening_socket("", 0, str(path)) as bound:
            assert socket_url(bound) == f"unix://{path}"
            assert path.stat().st_mode & 0o777 == 0o750
            assert ping(ping_url(socket_url(bound))) == "nothing listens there"
            # One that does not listen yet is no dead one.
            with pytest.raises(UsageError, match="Another server serves on"):
                bind(path)
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []
    assert ping(ping_url(f"unix://{path}")) == "nothing listens there"


def test_the_socket_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not(
    path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        # The second time its queue is full of the first.
        for _ in range(2):
            with pytest.raises(UsageError, match="Another server serves on"):
                bind(path)
    assert path.is_socket()
    path.with_name("iris.sock.lock").touch()
    with listening_socket("", 0, str(path)) as bound:
        bound.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert list(path.parent.iterdir()) == []


def test_what_is_no_socket_stays(path: Path, tmp_path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(UsageError, match="no socket"):
        bind(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no socket"):
        bind(path)
    path.unlink()
    for wrong in (tmp_path / ("x" * 120), tmp_path / "missing" / "s"):
        with pytest.raises(UsageError, match="Cannot serve on"):
            bind(wrong)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://[::1]:5000/models/iris/", "https://[::1]:5000/models/iris"),
        ("unix:///run/iris.sock", "unix:///run/iris.sock"),
        ("unix:/run/iris.sock:/models/iris", "unix:///run/iris.sock:/models/iris"),
        ("http+unix://%2Frun%2Firis.sock/models/iris", "unix:///run/iris.sock:/models/iris"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert str(ServerAddress.parse(text)) == address
    assert str(ServerAddress.parse(address)) == address


@pytest.mark.parametrize("text", ["unix:iris.sock", "unix://", "http+unix:///x", "http://h:x", ""])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        ServerAddress.parse(text)


def post(path: Path, what: str) -> tuple[int, object]:
    connection = ServerAddress.parse(f"unix://{path}").connection(60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/invocations", json.dumps(command(what)), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


@pytest.fixture
def served(launch: Callable[..., Launcher], obedient: ObedientModel, path: Path) -> Launcher:
    ready = path.with_name("ready.json")
    launcher = launch(
        *("serve", "-m", obedient.path, "--uds", path, "--env-manager", "local"),
        *("--name", "onsocket", "--ready-file", ready, "--liveness-timeout", "10"),
        environ={"PORT": "1", "MLFLOW_PORT": "2"},
    )
    assert launcher.wait_for(r"^ready: (\S+)")[1] == f"unix://{path}"
    assert json.loads(ready.read_text())["url"] == f"unix://{path}"
    return launcher


def test_a_server_on_a_socket_is_listed_restarted_reloaded_and_stopped(
    served: Launcher, path: Path, obedient: ObedientModel
) -> None:
    assert post(path, "done") == (200, {"predictions": ["done"]})
    assert f"unix://{path}" in run_with("ps").stdout
    assert run_with("ping", f"unix://{path}").returncode == 0
    taken = run_with(
        "serve", "-m", str(obedient.path), "--uds", str(path), "--env-manager", "local"
    )
    assert taken.returncode == 2
    assert "Another server serves on" in taken.stderr

    # Stopped by somebody else: the next one takes those who wait.
    [server] = psutil.Process(served.process.pid).children()
    server.send_signal(signal.SIGTERM)
    server.wait(60)
    assert post(path, "done")[0] == 200
    assert run_with("reload", "onsocket").returncode == 0
    assert post(path, "done")[0] == 200

    obedient.hold("predict")
    answers: list[tuple[int, object]] = []
    waiting = threading.Thread(target=lambda: answers.append(post(path, "meet")))
    waiting.start()
    obedient.wait_until_held("predict")
    family = served.descendants()
    served.send(signal.SIGTERM)
    served.wait_for("stopping, requests in flight")
    # Nobody who comes now waits for the end of those who are inside.
    assert not path.exists()
    obedient.let_go("predict")
    waiting.join()
    assert answers == [(200, {"predictions": ["met"]})]
    assert served.wait() == 0
    wait_until_gone(family)
    assert sorted(each.name for each in path.parent.glob("*.*")) == []


def test_a_launcher_that_was_killed_leaves_a_socket_that_is_replaced(
    launch: Callable[..., Launcher], obedient: ObedientModel, path: Path
) -> None:
    arguments = ("serve", "-m", obedient.path, "--uds", path, "--env-manager", "local")
    first = launch(*arguments)
    first.wait_for("^ready: ")
    family = first.descendants()
    first.send(signal.SIGKILL)
    first.wait()
    wait_until_gone(family)
    assert path.is_socket()
    second = launch(*arguments)
    second.wait_for("^ready: ")
    assert post(path, "done")[0] == 200
    assert second.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--port", "5000"), "--uds takes the place of --host and --port"),
        (("--tls-cert", __file__), "--uds and --tls-cert do not go together"),
        (("--enable-mlserver",), "has no --uds"),
        (("--cors-origin", "*", "--cors-origin", "https://a.example"), "stands for all"),
        (("--cors-origin", "a.example"), "is no origin"),
        (("--root-path", "a/b"), "is no root path"),
    ],
)
def test_what_does_not_go_together(
    arguments: tuple[str, ...], message: str, obedient: ObedientModel, path: Path
) -> None:
    done = run_with(
        *("serve", "-m", str(obedient.path), "--uds", str(path), "--dry-run"),
        *("--env-manager", "local", *arguments),
    )
    assert done.returncode == 2, done.stdout
    assert message in done.stderr.replace("\n", " ")


def test_the_plan_says_where_it_would_be_served(obedient: ObedientModel, path: Path) -> None:
    arguments = ["serve", "-m", str(obedient.path), "--env-manager", "local", "--dry-run"]
    more = ["--root-path", "/models/x/", "--cors-origin", "HTTPS://A.example:443"]
    plan = run_with(*arguments, *more, PORT="7001").stdout
    assert "127.0.0.1:7001/models/x, 1 worker" in plan
    assert "origin        https://a.example" in plan
    assert ":7002," in run_with(*arguments, PORT="7001", MLFLOW_PORT="7002").stdout
    assert ":7003," in run_with(*arguments, "-p", "7003", PORT="7001", MLFLOW_PORT="7002").stdout
    assert f" {path}, 1 worker" in run_with(*arguments, "--uds", str(path), PORT="7001").stdout
    wrong = run_with(*arguments, PORT="x")
    assert wrong.returncode == 2
    assert "PORT" in wrong.stderr
