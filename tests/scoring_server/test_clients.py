"""Clients that send slowly, read nothing, or only hold connections open."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from scoring_server.front.accepting import HANDSHAKE_SECONDS
from tests.scoring_server.serving_process import BODY, serving, write_config
from tests.scoring_server.test_disconnects import WAITING
from tests.scoring_server.test_survival import metric

HEAD = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
MB = 1 << 20
METRICS = 'launcher_requests_total{route="/metrics",status="200"}'


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def received(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            got += piece
    return got


def wait_until_held(url: str, least: float) -> None:
    until = time.monotonic() + 30
    while metric(url, "launcher_held_bytes") < least:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file for which the model waits."""
    return tmp_path / "model" / "code" / "gate"


def test_what_connections_hold_is_bounded_from_the_first_byte_to_the_last(
    tmp_path: Path, gate: Path
) -> None:
    """Whole bodies in the queue count as those do that are partly here."""
    config = write_config(tmp_path / "model", WAITING, max_body=4 * MB, max_held=10 * MB)
    body = BODY + b" " * (3 * MB)
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    with contextlib.ExitStack() as closing, serving(config) as (url, _):
        assert metric(url, "launcher_held_bytes_limit") == 10 * MB
        clients = []
        for count in (1, 2, 3):
            client = closing.enter_context(connect(url))
            client.sendall(head + body)
            wait_until_held(url, count * 3 * MB)
            clients.append(client)
        late = closing.enter_context(connect(url))
        late.sendall(head)
        answer = received(late)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        # Small ones are served, above all the probe.
        assert requests.get(f"{url}/ping", timeout=30).status_code == 200
        gate.touch()
        for client in clients:
            assert b"200 OK" in client.recv(1 << 16)
        assert metric(url, "launcher_held_bytes") == 0


def test_what_waits_for_a_worker_is_there_once(tmp_path: Path, gate: Path) -> None:
    """Bodies that a worker has been given, and does not read yet, are not copied for it."""
    config = write_config(tmp_path / "model", WAITING, max_batch_rows=64)
    body = BODY + b" " * (20 * MB)
    with contextlib.ExitStack() as closing, serving(config) as (url, process):
        before = psutil.Process(process.pid).memory_full_info().uss
        clients = [closing.enter_context(connect(url)) for _ in range(4)]
        for count, client in enumerate(clients, 1):
            client.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until_held(url, count * len(body))
        assert psutil.Process(process.pid).memory_full_info().uss < before + 1.4 * 80 * MB
        gate.touch()
        for client in clients:
            assert b"200 OK" in client.recv(1 << 16)


def test_an_answer_that_nobody_reads_is_held(tmp_path: Path) -> None:
    large = """
class Model:
    def predict(self, model_input):
        return ["x" * (16 << 20)]

def _load_pyfunc(path):
    return Model()
"""
    config = write_config(tmp_path / "model", large, max_body=MB, max_held=8 * MB)
    with serving(config) as (url, _), connect(url) as client:
        client.sendall(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        wait_until_held(url, 8 * MB)
        refused = requests.post(f"{url}/invocations", data=BODY, timeout=30)
        assert refused.status_code == 503
        client.sendall(PING.replace(b"Host", b"Connection: close\r\nHost"))
        assert len(received(client)) > 16 * MB
        assert metric(url, "launcher_held_bytes") == 0


def test_a_client_that_reads_nothing_gets_nothing_made(tmp_path: Path) -> None:
    """Pipelined requests for what is large stay with their sender."""
    with serving(write_config(tmp_path / "model")) as (url, process), connect(url) as client:
        before = psutil.Process(process.pid).memory_info().rss
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        client.settimeout(1)
        sent = 0
        while sent < 8 * MB:
            try:
                sent += client.send(request)
            except TimeoutError:
                # Or it is only slow: then it answers some more while others ask something.
                first = metric(url, METRICS)
                for _ in range(5):
                    requests.get(f"{url}/ping", timeout=30)
                if metric(url, METRICS) == first + 1:
                    break
        assert sent < 8 * MB, "all of it was read"
        assert psutil.Process(process.pid).memory_info().rss < before + 32 * MB
        assert metric(url, "launcher_held_bytes") < 8 * MB
        # And all are answered once they are read.
        client.settimeout(60)
        assert requests.get(f"{url}/ping", timeout=30).status_code == 200
        got = b""
        while got.count(b"HTTP/1.1 200") < 3000:
            got += client.recv(1 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["length", "chunked", "trailers"])
def test_a_body_has_a_least_rate(tmp_path: Path, kind: str) -> None:
    with serving(write_config(tmp_path / "model")) as (url, _), connect(url) as client:
        if kind == "length":
            head, piece = f"{HEAD}Content-Length: 1000\r\n\r\n", b"x"
        elif kind == "chunked":
            head, piece = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"
        else:
            head, piece = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"x"
        client.sendall(head.encode())
        began = time.monotonic()
        client.settimeout(0.5)
        answer = b""
        while not answer:
            assert time.monotonic() < began + 60, "it goes on for ever"
            try:
                answer = client.recv(1 << 16)
            except TimeoutError:
                client.sendall(piece)
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
def test_empty_lines_between_requests_are_no_request(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model")) as (url, _), connect(url) as client:
        client.sendall(PING)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        for piece in (b"\r\n", b"\r", b"\n"):
            client.sendall(piece)
            requests.get(f"{url}/ping", timeout=30)
        # Longer than a head may take, had one begun.
        client.settimeout(33)
        with pytest.raises(TimeoutError):
            client.recv(1 << 16)
        client.sendall(PING)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"\r\n" * 100)
        client.settimeout(30)
        assert received(client).startswith(b"HTTP/1.1 400 ")


# Descriptors that the server may have: connections may then be 96.
DESCRIPTORS = 160


@pytest.fixture
def few_descriptors() -> list[str]:
    """A command that runs another with few descriptors."""
    limit = f"import os, resource, sys; resource.setrlimit(7, ({DESCRIPTORS},) * 2); "
    assert resource.RLIMIT_NOFILE == 7
    return [sys.executable, "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])"]


@contextlib.contextmanager
def many(url: str, number: int, wire: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, which have sent that."""
    with contextlib.ExitStack() as closing:
        opened = []
        for _ in range(number):
            opened.append(closing.enter_context(connect(url)))
            # Those that had to make room are closed by now.
            with contextlib.suppress(ConnectionError):
                opened[-1].sendall(wire)
        yield opened


@pytest.mark.parametrize(
    "wire", [b"", PING, b"GET /ping", f"{HEAD}Content-Length: 9\r\n\r\n".encode()]
)
def test_a_probe_gets_in_whoever_keeps_connections_open(
    tmp_path: Path, few_descriptors: list[str], wire: bytes
) -> None:
    config = write_config(tmp_path / "model")
    with serving(config, *few_descriptors) as (url, process), many(url, 300, wire):
        for _ in range(5):
            assert requests.get(f"{url}/ping", timeout=30).status_code == 200
        assert psutil.Process(process.pid).num_fds() < DESCRIPTORS


@pytest.mark.slow
def test_bare_connections_to_a_tls_port_count(tmp_path: Path, few_descriptors: list[str]) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    config = write_config(tmp_path / "model", tls_cert=str(certificate), tls_key=str(key))
    with serving(config, *few_descriptors) as (url, process), contextlib.ExitStack() as closing:
        began = time.monotonic()
        bare = closing.enter_context(many(url, 200))
        for _ in range(5):
            with connect(url) as plain, context.wrap_socket(plain) as client:
                client.sendall(PING)
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
                # Room was made for it, before the others had had their time.
                assert time.monotonic() < began + HANDSHAKE_SECONDS
        assert psutil.Process(process.pid).num_fds() < DESCRIPTORS
        # And those that there is room for have no more than their time.
        bare[-1].settimeout(30)
        assert received(bare[-1]) == b""
