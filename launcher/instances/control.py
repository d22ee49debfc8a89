"""The control socket of a running launcher: other launcher commands ask it, and wait on it.

One request a connection, a JSON object on a line; the answer is a JSON object on a line as well.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

# sockaddr_un holds 108 bytes on Linux, 104 elsewhere.
_LONGEST_PATH = 100
_MAX_REQUEST = 4096


class Client:
    """One connection to the control socket. One that has gone is neither answered nor nudged."""

    def __init__(self, server: ControlServer, connection: socket.socket) -> None:
        self._server = server
        self.connection = connection
        self._data = b""
        self.is_open = True

    def read(self) -> None:
        """Take what it has sent; called by the loop."""
        if not self.is_open:
            return
        try:
            data = self.connection.recv(_MAX_REQUEST)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self._data += data
        if not data or len(self._data) > _MAX_REQUEST:
            self.close()
        elif self._data.endswith(b"\n"):
            line, self._data = self._data, b""
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                request = None
            if isinstance(request, dict):
                self._server.handle(self, request)
            else:
                self.answer({"failure": "a request is a JSON object on a line"})

    def answer(self, content: dict[str, Any]) -> None:
        """Answer and close. An answer has room in the socket, so that nothing waits."""
        self._send(json.dumps(content).encode() + b"\n")
        self.close()

    def nudge(self) -> None:
        """Wake a client that follows the log; one that is behind has been woken already."""
        self._send(b"\n")

    def _send(self, data: bytes) -> None:
        if not self.is_open:
            return
        try:
            self.connection.send(data)
        except BlockingIOError:
            return
        except OSError:  # it did not wait
            self.close()

    def close(self) -> None:
        """Let it go."""
        if self.is_open:
            self.is_open = False
            self._server.forget(self)


class ControlServer:
    """Answers on a Unix socket, in the supervisor's loop.

    :param folder: where the socket is made, if its path is short enough.
    :param selector: the loop's.
    :param handle: called with (client, request).
    """

    def __init__(
        self,
        folder: Path,
        selector: selectors.BaseSelector,
        handle: Callable[[Client, dict[str, Any]], None],
    ) -> None:
        self._selector = selector
        self.handle = handle
        self._clients: set[Client] = set()
        self._own_folder: str | None = None
        self.path = folder / "control"
        if len(str(self.path)) > _LONGEST_PATH:
            import tempfile

            self._own_folder = tempfile.mkdtemp(prefix="launcher-")
            self.path = Path(self._own_folder) / "control"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(self.path))
        self.path.chmod(0o600)
        self._listening.listen()
        self._listening.setblocking(False)
        selector.register(self._listening, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        client = Client(self, connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client.read)

    def forget(self, client: Client) -> None:
        """Close a client's connection."""
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()

    def close(self) -> None:
        """Close all connections and remove the socket."""
        for client in list(self._clients):
            client.connection.close()
        self._clients.clear()
        self._listening.close()
        self.path.unlink(missing_ok=True)
        if self._own_folder is not None:
            import shutil

            shutil.rmtree(self._own_folder, ignore_errors=True)


def connect(path: Path, request: dict[str, Any], timeout: float | None) -> socket.socket:
    """Send a request; the answer can be read from the socket that is returned.

    :raises OSError: nobody answers there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
    except BaseException:
        connection.close()
        raise
    return connection


def ask(path: Path, request: dict[str, Any], timeout: float | None = None) -> dict[str, Any] | None:
    """Send a request and wait for its answer; None when the launcher ended instead.

    :param timeout: seconds without an answer after which ``TimeoutError`` is raised.
    :raises OSError: nobody answers there.
    """
    with connect(path, request, timeout) as connection, connection.makefile("rb") as answers:
        line = answers.readline()
    return json.loads(line) if line else None
