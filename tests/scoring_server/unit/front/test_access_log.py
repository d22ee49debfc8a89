"""The access log: whole lines, whatever clients send, and not without bound."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from scoring_server.config import ServerSettings
from scoring_server.front.access_log import AccessLog
from scoring_server.front.http1 import Head
from scoring_server.front.request import PendingRequest
from tests.scoring_server.serving_process import serving, write_config


def logged(settings: ServerSettings, paths: list[str], *, is_known: bool = True) -> list[str]:
    """The lines for requests of these paths that came at once."""
    readable, writable = os.pipe()

    async def note() -> None:
        log = AccessLog(asyncio.get_running_loop(), settings, writable)
        for path in paths:
            client = SimpleNamespace(peer=("127.0.0.1", "1"))
            head = Head("GET", "/", "1.1", {})
            head.path = path
            request = PendingRequest(client, head, None, b"", 0.0)  # type: ignore[arg-type]
            request.is_known = is_known
            log.note(request, request.arrived)
        # A second later, one more.
        request.is_known = False
        log.note(request, request.arrived + 1.5)
        log.flush()

    asyncio.run(note())
    os.close(writable)
    with os.fdopen(readable) as log:
        return log.read().splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_client_sent_cannot_make_lines_of_its_own(form: str) -> None:
    settings = ServerSettings(access_log=True, log_format=form)
    path = '/" 200 \n127.0.0.1 "GET /forged\x1b[31m'
    lines = logged(settings, [path])
    assert len(lines) == 2
    assert "\x1b" not in lines[0]
    if form == "json":
        assert json.loads(lines[0])["path"] == path
    else:
        assert json.dumps("GET " + path) in lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_strangers_get_some_lines_a_second_and_a_count(form: str) -> None:
    settings = ServerSettings(access_log=True, log_format=form)
    lines = logged(settings, ["/"] * 1000, is_known=False)
    assert len(lines) == 12
    assert "990" in lines[10]
    assert "refused" in lines[10]
    if form == "json":
        assert json.loads(lines[10])["count"] == 990
    assert len(logged(settings, ["/"] * 200)) == 201


def test_a_log_that_is_closed_or_full_or_unread_costs_its_lines_alone() -> None:
    async def note() -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        closed = os.dup(full)
        os.close(closed)
        unread, pipe = os.pipe()
        os.set_blocking(pipe, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"x" * 4096)
        os.set_blocking(pipe, True)
        for descriptor in (full, closed, pipe):
            log = AccessLog(asyncio.get_running_loop(), ServerSettings(access_log=True), descriptor)
            client = SimpleNamespace(peer=("127.0.0.1", "1"))
            request = PendingRequest(client, Head("GET", "/", "1.1", {}), None, b"", 0.0)  # type: ignore[arg-type]
            log.note(request, request.arrived)
            log.flush()
        for descriptor in (full, unread, pipe):
            os.close(descriptor)

    def give_up(*_: object) -> None:
        raise AssertionError("it waits for a reader")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    try:
        asyncio.run(note())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_flood_without_the_token_does_not_fill_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    config = write_config(
        tmp_path / "model", access_log=True, log_format="json", token_file=str(token)
    )
    heads = [
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n",
        b"M" * 5000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    with serving(config) as (url, _):
        parts = urlsplit(url)
        for head in heads * 100:
            with socket.create_connection((parts.hostname, parts.port), timeout=30) as client:
                client.sendall(head)
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 ")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert 0 < len(requests) < 200
