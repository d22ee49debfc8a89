"""The load that the benchmarks make, by wrk and by our own client."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.load import Load, post, post_from_here


@pytest.fixture
def half_wrong() -> Iterator[str]:
    """The URL of a server that answers every second request with 500."""
    count = iter(range(10**9))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(500 if next(count) % 2 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/invocations"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("drive", [post, post_from_here])
def test_load_counts_answers_other_than_200_as_errors(
    drive: Callable[..., Load], half_wrong: str, tmp_path: Path
) -> None:
    if drive is post and shutil.which("wrk") is None:
        pytest.skip("wrk is not here: apt-get install wrk")
    body = tmp_path / "body.json"
    body.write_text('{"a": 1}')
    load = drive(half_wrong, body, "application/json", 2, 1)
    assert load.requests > 2
    assert load.errors == pytest.approx(load.requests / 2, abs=3)
    assert 0 < load.p50_ms <= load.p99_ms <= load.max_ms
