"""Requests that are not as they should be, over real connections to a real server.

The server is the one of production; the model follows MLflow's python_function conventions and is
loaded without MLflow.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.scoring_server.serving_process import serving_models

MODEL = """
def _load_pyfunc(path):
    return Model()


class Model:
    def predict(self, model_input):
        return [len(model_input)]
"""
MAX_BODY = 100_000
GOOD = b'{"inputs": [1, 2, 3]}'


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("served")
    code = folder / "models" / "count" / "code"
    code.mkdir(parents=True)
    (code / "counting_loader.py").write_text(MODEL)
    (code.parent / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: counting_loader\n    code: code\n"
    )
    settings = json.dumps({"max_body": MAX_BODY, "timeout": 20})
    with serving_models(
        sys.executable, "serve_ours.py", folder / "models", folder, settings
    ) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


@pytest.fixture(autouse=True)
def next_request_is_answered(address: tuple[str, int]) -> Iterator[None]:
    """Whatever a test sent, the server goes on."""
    yield
    assert post(address, GOOD) == (200, {"predictions": [3]})


def post(address: tuple[str, int], body: bytes, **headers: str) -> tuple[int, object]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        named = {"Content-Type": "application/json"}
        named.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection.request("POST", "/count/invocations", body, named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def raw(address: tuple[str, int], head: str, body: bytes = b"", *, ends: bool = True) -> bytes:
    """What the server answers to bytes; `ends` closes our direction after them."""
    with socket.create_connection(address, timeout=30) as connection:
        start = "POST /count/invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall((start + head + "\r\n").encode() + body)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while b"\r\n\r\n" not in received or not received.rpartition(b"}")[1]:
            piece = connection.recv(65536)
            if not piece:
                break
            received += piece
        return received


def test_body_over_the_limit(address: tuple[str, int]) -> None:
    status, body = post(address, b" " * (MAX_BODY + 1))
    assert status == 413
    assert isinstance(body, dict)
    assert str(MAX_BODY) in body["message"]


def test_a_declared_length_over_the_limit_is_answered_without_the_body(
    address: tuple[str, int],
) -> None:
    answer = raw(address, "Content-Length: 200000000000\r\n", b"x", ends=False)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_expect_continue_over_the_limit(address: tuple[str, int]) -> None:
    head = "Content-Length: 200000000000\r\nExpect: 100-continue\r\n"
    assert b" 413 " in raw(address, head, ends=False)


def test_chunked(address: tuple[str, int]) -> None:
    chunks = (
        b"a\r\n" + GOOD[:10] + b"\r\n" + b"%x\r\n" % len(GOOD[10:]) + GOOD[10:] + b"\r\n0\r\n\r\n"
    )
    answer = raw(address, "Transfer-Encoding: chunked\r\n", chunks)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'{"predictions":[3]}' in answer.replace(b" ", b"")


def test_chunked_over_the_limit(address: tuple[str, int]) -> None:
    chunks = (b"10000\r\n" + b" " * 65536 + b"\r\n") * 3 + b"0\r\n\r\n"
    assert raw(address, "Transfer-Encoding: chunked\r\n", chunks).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 1000\r\n", GOOD),
        ("Content-Length: 5\r\n", GOOD),
        ("Content-Length: -5\r\n", GOOD),
        ("Content-Length: 5\r\nContent-Length: 21\r\n", GOOD),
        ("Content-Length: twenty\r\n", GOOD),
        ("", GOOD),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\nnonsense"),
        ("Transfer-Encoding: chunked\r\n", b"5\r\n{"),
        ("Transfer-Encoding: gzip\r\n", GOOD),
    ],
)
def test_wrong_lengths(address: tuple[str, int], head: str, body: bytes) -> None:
    answer = raw(address, head, body)
    # Refused, or hung up on where nothing could be understood; never served, never a 500.
    assert not answer or answer.split(b" ", 2)[1] in (b"400", b"408", b"411", b"501"), answer[:500]


def test_unknown_content_encoding(address: tuple[str, int]) -> None:
    status, _ = post(address, b"\x1f\x8b\x08\x00", Content_Encoding="gzip")
    assert status in (400, 415)


def test_a_client_that_hangs_up(address: tuple[str, int]) -> None:
    for _ in range(20):
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(b"POST /count/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9")


def test_many_connections_at_once(address: tuple[str, int]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(address, GOOD), range(100)))
    assert answers == [(200, {"predictions": [3]})] * 100
