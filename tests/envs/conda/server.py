"""A channel over HTTP on 127.0.0.1: open, behind a password, behind a token, or troubled."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class ChannelServer(ThreadingHTTPServer):
    """Serves a folder below ``/channel``.

    Attributes:
        user: "name:password" that requests must carry, or None.
        token: what a path must begin with (``/t/TOKEN/channel``), or None.
        hangs, hangs_on: answer nothing, or no path that ends so, before ``let_go`` is set.
        failures: how many requests are answered with 503 before any is served.
        fails_on: the ending of the paths that ``failures`` is for.
        requested: the paths that were asked for.
    """

    daemon_threads = True

    def __init__(self, folder: Path, user: str | None = None, token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.user = user
        self.token = token
        self.failures = 0
        self.fails_on = ""
        self.hangs = False
        self.hangs_on: str | None = None
        self.let_go = threading.Event()
        self.requested: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/channel"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: py-rattler asks for several forms of an index and hangs up on the rest."""


class _Handler(SimpleHTTPRequestHandler):
    server: ChannelServer

    def do_GET(self) -> None:
        self.answer(super().do_GET)

    def do_HEAD(self) -> None:
        self.answer(super().do_HEAD)

    def answer(self, serve: Any) -> None:
        server = self.server
        server.requested.append(self.path)
        if server.hangs or (server.hangs_on and self.path.endswith(server.hangs_on)):
            server.let_go.wait()
        prefix = f"/t/{server.token}/channel" if server.token else "/channel"
        wanted = b64encode((server.user or "").encode()).decode()
        if server.failures and self.path.endswith(server.fails_on):
            server.failures -= 1
            self.send_error(503)
        elif server.user and self.headers.get("Authorization") != f"Basic {wanted}":
            self.send_error(401)
        elif not self.path.startswith(prefix + "/"):
            self.send_error(404)
        else:
            self.path = self.path[len(prefix) :]
            serve()

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[ChannelServer]:
    """Serve a channel's folder while the block runs."""
    server = ChannelServer(folder, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
