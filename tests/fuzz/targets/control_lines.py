"""What comes on a launcher's control socket, in pieces: a request or an end, never an exception."""

from __future__ import annotations

import selectors
import socket
from pathlib import Path
from typing import Any

from launcher.instances.control import Client, ControlServer
from tests.fuzz.target import Found, Input, Target

# What the socket's buffer takes at once.
LONGEST = 16384


def prepare(folder: Path) -> Input:
    selector = selectors.DefaultSelector()

    def handle(client: Client, request: Any) -> None:
        if not isinstance(request, dict):
            raise Found(f"a request that is no object: {request!r}")
        client.answer({"echo": len(request)})

    server = ControlServer(folder, selector, handle)

    def take(data: bytes) -> None:
        size = 1 + int.from_bytes(data[:2], "little")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.path))
            _turn(selector)
            for start in range(2, len(data), size):
                try:
                    client.send(data[start : start + size])
                except (BrokenPipeError, ConnectionResetError):
                    break  # it has been answered, or refused
                _turn(selector)
        _turn(selector)
        left = [key for key in selector.get_map().values() if key.data != server._accept]
        if left:
            raise Found(f"a client that has gone is kept: {left}")

    return take


def _turn(selector: selectors.BaseSelector) -> None:
    """What the supervisor's loop does, until there is nothing to do."""
    while ready := selector.select(0):
        for key, _ in ready:
            key.data()


TARGET = Target(
    prepare,
    longest=LONGEST,
    seconds=1.0,
    words=('{"command": "', "status", "reload", "stop", "follow", "\n", "[[[[", "null", "\\ud800"),
)
