"""An index with a password, for images."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envs.conftest import make_wheel

PASSWORD = "sesame-8123"


@pytest.fixture
def private_index(tmp_path: Path) -> Iterator[str]:
    """An index of one package, apple 1.0, that wants a password; its URL has it."""
    make_wheel(tmp_path / "index" / "apple", "apple", "1.0")
    wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(tmp_path / "index"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
