"""Smuggling, endless trailers and pipelined requests, against a real server process."""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.scoring_server.http.readers import Incomplete, Refused, read_ours
from tests.scoring_server.http.streams import corpus
from tests.scoring_server.serving_process import BODY, serving, write_config

NEXT = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    # The page would start a process of its own for the first / of a stream.
    config = write_config(tmp_path_factory.mktemp("served") / "model", page=False)
    with serving(config) as (url, _):
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def answers(
    address: tuple[str, int], wire: bytes, *, ends_after: float | None = None
) -> list[tuple[int, bytes]]:
    """Send a stream and read until the server closes: each answer's status, and what follows it.

    :param ends_after: seconds after which our side is closed.
    """
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(wire)
        received = b""
        if ends_after is not None:
            select.select([], [], [], ends_after)
            connection.shutdown(socket.SHUT_WR)
        while True:
            piece = connection.recv(1 << 16)
            if not piece:
                break
            received += piece
    parts = re.split(rb"HTTP/1\.1 ([2-5][0-9]{2}) ", received)
    return [(int(status), rest) for status, rest in zip(parts[1::2], parts[2::2])]


@pytest.mark.parametrize(
    "wire",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\n\n",
        b"GET foo?u=http://bar/ping HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://y/ping HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get /ping HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 5000 + b" /ping HTTP/1.1\r\nHost: x\r\n\r\n",
        CHUNKED + b"0\r\n\n",
        CHUNKED + b"0 \r\n\r\n",
        CHUNKED + b"0;\n\r\n\r\n",
        CHUNKED + b"1\r\naX0\r\n\r\n",
        CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
        CHUNKED + b"0\r\nX-A : b\r\n\r\n",
    ],
)
def test_smuggled_requests_are_refused_and_the_connection_closes(
    address: tuple[str, int], wire: bytes
) -> None:
    assert [status for status, _ in answers(address, wire + NEXT)] == [400]


def test_an_end_of_a_body_that_is_none_is_refused_at_once(address: tuple[str, int]) -> None:
    """Today's next request was taken for a trailer."""
    assert [status for status, _ in answers(address, CHUNKED + b"0\r\n\n")] == [400]


@pytest.mark.parametrize("trailer", [b"X-A: b\r\n", b"X-A: " + b"b" * 1000 + b"\r\n", b"a" * 1000])
def test_endless_trailers_are_refused_after_the_bound(
    address: tuple[str, int], trailer: bytes
) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(CHUNKED + b"0\r\n")
        sent = 0
        # 8 KB are the bound; the rest is what may be under way between the two processes.
        while not select.select([connection], [], [], 0)[0] and sent < 1 << 22:
            select.select([connection], [connection], [])
            sent += connection.send(trailer)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            piece = connection.recv(1 << 16)
            if not piece:
                break
            received += piece
    assert received.startswith(b"HTTP/1.1 431 "), (sent, received)


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, BODY[at : at + 1]) for at in range(len(BODY)))
    score = CHUNKED.replace(b"Host", b"Content-Type: application/json\r\nHost")
    wire = NEXT + score + chunks + b"0\r\nX-Checksum: 1\r\n\r\n" + b"\r\n"
    wire += b"GET http://x/nothing?u=/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    wire += NEXT.replace(b"Host", b"Connection: close\r\nHost") + NEXT
    got = answers(address, wire)
    assert [status for status, _ in got] == [200, 200, 404, 200]
    assert b'"predictions"' in got[1][1]


def test_requests_that_came_before_the_end_are_answered(address: tuple[str, int]) -> None:
    """The end may be read between an answer and the next request."""
    wire = NEXT.replace(b"/ping", b"/nothing") * 2 + NEXT
    # Not a wait: the moments at which the end comes, some of them between two requests.
    for moment in range(150):
        got = answers(address, wire, ends_after=moment * 2e-5)
        assert [status for status, _ in got] == [404, 404, 200]


def test_the_server_reads_streams_as_the_parser_does(address: tuple[str, int]) -> None:
    """A part of the corpus of test_oracles.py, over real connections."""
    for wire in corpus(200, seed=2):
        expected = 0
        start = 0
        may_follow = True
        while may_follow and start < len(wire):
            expected += 1
            try:
                request, may_follow = read_ours(wire, start)
            except (Refused, Incomplete):
                break
            start = request.end
        assert len(answers(address, wire, ends_after=0)) == expected, wire


def head(length: int, *fields: bytes) -> bytes:
    lines = (b"POST /invocations HTTP/1.1", b"Host: x", b"Content-Type: application/json", *fields)
    return b"\r\n".join(lines) + b"\r\nContent-Length: %d\r\n\r\n" % length


def test_a_head_that_comes_again_takes_its_own_body(address: tuple[str, int]) -> None:
    """One client, one head: bodies that come whole, in two parts, with the next request, or short."""
    tables = [{"columns": list("abcd"), "data": [[n, 0.5, 0.0, 0.0]]} for n in range(1, 9)]
    bodies = [json.dumps({"dataframe_split": table}).encode() for table in tables]
    again = head(len(bodies[0]))
    assert {len(body) for body in bodies} == {len(bodies[0])}
    with socket.create_connection(address, timeout=30) as connection:
        got = b""

        def ask(*parts: bytes) -> None:
            nonlocal got
            before = got.count(b"predictions")
            for part in parts:
                connection.sendall(part)
                # So that each part is read by itself.
                select.select([connection], [], [], 0.05)
            asked = b"".join(parts).count(b"POST ")
            while got.count(b"predictions") < before + asked:
                received = connection.recv(1 << 16)
                assert received
                got += received

        ask(again + bodies[0])
        ask(again + bodies[1])
        ask(again, bodies[2])
        ask(again[:20], again[20:] + bodies[3][:5], bodies[3][5:])
        ask(again + bodies[4] + again + bodies[5])
        ask(b"\r\n" + again + bodies[6])
        ask(again + bodies[7])
    assert re.findall(rb'predictions": ?\[([0-9.]+)\]', got) == [b"%d.5" % n for n in range(1, 9)]


def test_a_head_that_begins_like_the_last_one_is_read_by_itself(
    address: tuple[str, int],
) -> None:
    known = head(len(BODY)) + BODY
    twice = head(len(BODY), b"Content-Length: 3") + BODY
    chunked = head(len(BODY), b"Transfer-Encoding: chunked") + BODY
    # As long as the one that is known, up to the last byte.
    spaced = known.replace(b"Content-Type: a", b"Content-Type :a")
    for refused in (twice, chunked, spaced):
        with socket.create_connection(address, timeout=30) as connection:
            for _ in range(2):
                connection.sendall(known)
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            connection.sendall(refused)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 400 "), refused
        assert answer.count(b"HTTP/1.1 ") == 1
