"""Servers and proxies for the tests of artifacts, all on the loopback address."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest


class Counted(ThreadingHTTPServer):
    """A web server that remembers its requests as (method, path)."""

    daemon_threads = True

    def __init__(self, handler: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.requests: list[tuple[str, str]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.bytes_sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that is cut off, or cuts off, is part of these tests."""


@contextlib.contextmanager
def running(server: socketserver.BaseServer) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Files(SimpleHTTPRequestHandler):
    """A folder with its index, ranges and ETags; python's own server has no ranges."""

    protocol_version = "HTTP/1.1"
    # Head and body are two packets: the second would wait for the client's word on the first.
    disable_nagle_algorithm = True
    server: Any
    ranges = True
    validators = True

    def do_GET(self) -> None:
        self._count()
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self._send_file(path)
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        self._count()
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self._start(200, path, path.stat().st_size)
        else:
            super().do_HEAD()

    def _count(self) -> None:
        self.server.requests.append((self.command, self.path))
        self.server.headers_seen.append(dict(self.headers.items()))

    def _send_file(self, path: Path) -> None:
        content = path.read_bytes()
        asked = self.headers.get("Range")
        tag = self.headers.get("If-Range")
        if asked and self.ranges and tag in (None, self._tag(path)):
            start = int(asked.partition("=")[2].rstrip("-"))
            if start >= len(content):
                self._start(416, path, 0, f"bytes */{len(content)}")
                return
            length = len(content) - start
            self._start(206, path, length, f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            self._start(200, path, len(content))
        self.server.bytes_sent += len(content)
        self.wfile.write(content)

    def _start(self, status: int, path: Path, length: int, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        if self.validators:
            self.send_header("ETag", self._tag(path))
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.end_headers()

    @staticmethod
    def _tag(path: Path) -> str:
        status = path.stat()
        return f'"{status.st_mtime_ns}-{status.st_size}"'

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


class FilesWithoutRanges(Files):
    ranges = False


class FilesWithoutValidators(Files):
    validators = False


def serve_files(folder: Path, handler: type[Files] = Files) -> Any:
    return running(Counted(partial(handler, directory=str(folder))))


def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Any:
    """Serve every request with `answer`, which is given the handler."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        server: Any

        def do_GET(self) -> None:
            self.server.requests.append((self.command, self.path))
            self.server.headers_seen.append(dict(self.headers.items()))
            answer(self)

        do_POST = do_HEAD = do_GET

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    return running(Counted(Handler))


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes bytes between its clients and `upstream`; cuts `cuts` answers at random points."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: str, cuts: int, spread: int, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), None)  # type: ignore[arg-type]
        self._upstream = urlsplit(upstream)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._spread = spread
        self.cuts_left = cuts
        self.requests_sent = 0
        self.bytes_passed = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        target = (self._upstream.hostname, self._upstream.port or 80)
        with socket.create_connection(target) as upstream:
            to_server = threading.Thread(target=self._pass_requests, args=(request, upstream))
            to_server.start()
            self._pass_answers(upstream, request)
            for side in (request, upstream):
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
            to_server.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: cut connections are what this is for."""

    def _pass_requests(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.requests_sent += data.count(b"GET ")
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _pass_answers(self, source: socket.socket, sink: socket.socket) -> None:
        budget = self._random.randrange(1, self._spread)
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                cut = len(data) > budget and self._take_cut()
                data = data[:budget] if cut else data
                with self._lock:
                    self.bytes_passed += len(data)
                sink.sendall(data)
                if cut:
                    return
                budget = max(0, budget - len(data))

    def _take_cut(self) -> bool:
        with self._lock:
            self.cuts_left -= 1
            return self.cuts_left >= 0


def failing_proxy(upstream: str) -> Any:
    """Pass requests on to `upstream`, and fail every third: 503, half a body, no answer at all."""
    address = urlsplit(upstream)
    lock = threading.Lock()
    counted = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal counted
        with lock:
            counted += 1
            number = counted
        handler.close_connection = True
        if number % 9 == 3:
            reply(handler, 503, b"later", "text/plain")
            return
        if number % 9 == 6:
            return
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in handler.headers.items() if name != "Host"}
        connection.request(handler.command, handler.path, body or None, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        handler.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        length = response.headers["Content-Length"] if handler.command == "HEAD" else len(content)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if number % 9 == 0 else content)

    return answering(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, alive: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something listens; fail at once when the process that should is gone."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert alive(), "the server ended"
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)


def self_signed(folder: Path) -> Path:
    """A new self-signed certificate for 127.0.0.1, with its key in the same file."""
    path = folder / "server.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(folder / "key.pem"), "-out", str(path)],
            check=True,
            capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("openssl is not here: apt-get install openssl")
    path.write_text(path.read_text() + (folder / "key.pem").read_text())
    return path


@contextlib.contextmanager
def over_tls(running: Any, certificate: Path) -> Iterator[str]:
    """Run a server of this module over TLS; yield its address."""
    with running as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server.url.replace("http", "https")
