"""A storage of images with a base in it, and an index with a password."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envs.conftest import make_wheel
from tests.launcher.images.containers import Images

PASSWORD = "sesame-8123"


@contextlib.contextmanager
def serve_index(folder: Path) -> Iterator[str]:
    """An index of one package, apple 1.0, that wants a password; its URL has it.

    :param folder: for the package.
    """
    make_wheel(folder / "apple", "apple", "1.0")
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

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def private_index(tmp_path: Path) -> Iterator[str]:
    """The URL of such an index."""
    with serve_index(tmp_path / "index") as url:
        yield url


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Images of this module's own."""
    made = Images(tmp_path_factory.mktemp("images"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def base(images: Images, launcher_home: Path) -> str:
    """What they are made from."""
    return images.make_base(launcher_home.parent)
