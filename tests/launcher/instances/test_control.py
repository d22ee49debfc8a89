"""The control socket, with real clients: what they send, and when they go."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.instances.control import Client, ControlServer, connect


class Control:
    """A control server whose loop turns when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.handled: list[tuple[Client, dict[str, Any]]] = []
        self.server = ControlServer(
            folder, self.selector, lambda client, request: self.handled.append((client, request))
        )

    def turn(self) -> None:
        for key, _ in self.selector.select(timeout=0):
            key.data()

    def connect(self, data: bytes) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(60)
        client.connect(str(self.server.path))
        client.sendall(data)
        self.turn()  # accepted
        self.turn()  # read
        return client


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    made = Control(tmp_path)
    yield made
    made.server.close()
    made.selector.close()


def test_a_request_is_handled_and_answered(control: Control) -> None:
    with connect(control.server.path, {"command": "status"}, 60) as connection:
        control.turn()
        control.turn()
        [(client, request)] = control.handled
        assert request == {"command": "status"}
        client.answer({"state": "ready"})
        assert json.loads(connection.recv(4096)) == {"state": "ready"}
        assert connection.recv(4096) == b""
    assert not client.is_open


@pytest.mark.parametrize("garbage", [b"hello", b"\xff\xfe", b"[1]", b"null", b"[" * 4000, b""])
def test_garbage_is_answered_with_a_failure(control: Control, garbage: bytes) -> None:
    with control.connect(garbage + b"\n") as client:
        assert "failure" in json.loads(client.recv(4096))
    assert control.handled == []
    with control.connect(b'{"command": "status"}\n'):
        assert len(control.handled) == 1


def test_a_request_without_end_is_cut(control: Control) -> None:
    with control.connect(b"x" * 4096) as client:
        client.sendall(b"x")
        control.turn()
        assert client.recv(4096) == b""


def test_a_client_that_has_gone_is_neither_answered_nor_nudged(control: Control) -> None:
    control.connect(b'{"command": "reload"}\n').close()
    [(client, _)] = control.handled
    assert client.is_open
    control.turn()  # its end is seen
    assert not client.is_open
    client.answer({"reloaded": True})
    client.nudge()
    client.read()


def test_a_client_that_goes_before_its_end_is_seen_is_let_go(control: Control) -> None:
    control.connect(b'{"command": "reload"}\n').close()
    [(client, _)] = control.handled
    client.answer({"reloaded": True})
    assert not client.is_open


def test_a_path_too_long_for_a_socket_is_made_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    control = Control(folder)
    with control.connect(b'{"command": "status"}\n'):
        assert len(control.handled) == 1
    elsewhere = control.server.path.parent
    assert elsewhere != folder
    control.server.close()
    assert not elsewhere.exists()
