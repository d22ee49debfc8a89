"""Three readers of one stream of requests: ours, h11 and llhttp (by httptools)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import h11
import httptools

from scoring_server.front.http1 import HEAD_END, ChunkedBody, HttpError, parse_head

MAX_BODY = 1 << 20


class Read(NamedTuple):
    """A request as a reader understands it; `end` is where the next one begins."""

    method: str
    target: tuple[str, str]
    headers: dict[str, str]
    body: bytes
    end: int


class Refused(Exception):
    """The reader refuses the stream."""


class Incomplete(Exception):
    """The reader waits for more."""


def read_ours(wire: bytes, start: int) -> tuple[Read, bool]:
    """Read the request at `start` as `Connection` does; also whether another may follow."""
    buffer = bytearray(wire[start:])
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(HEAD_END)
    if end < 0:
        raise Incomplete
    try:
        head = parse_head(bytes(buffer[:end]))
        del buffer[: end + len(HEAD_END)]
        if head.length is None:
            chunked = ChunkedBody(MAX_BODY)
            if not chunked.take(buffer):
                raise Incomplete
            body = bytes(chunked.body)
        else:
            if len(buffer) < head.length:
                raise Incomplete
            body = bytes(buffer[: head.length])
            del buffer[: head.length]
    except HttpError as error:
        raise Refused(error.message) from error
    target = (head.path, head.query)
    end = len(wire) - len(buffer)
    return Read(head.method, target, head.headers, body, end), head.keep_alive


def read_h11(wire: bytes, start: int) -> Read:
    """Read the request at `start` with h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_BODY)
    connection.receive_data(wire[start:])
    request: h11.Request | None = None
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(str(error)) from error
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            end = len(wire) - len(connection.trailing_data[0])
            return _read(request.method, request.target, request.headers, body, end)
        else:
            raise Incomplete


class _Message:
    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.is_in_body = False
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here as well.
        if not self.is_in_body:
            self.headers.append((name, value or b""))

    def on_headers_complete(self) -> None:
        self.is_in_body = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def read_llhttp(wire: bytes, start: int) -> Read:
    """Read the request at `start` with llhttp, byte by byte, to see where it ends."""
    message = _Message()
    parser = httptools.HttpRequestParser(message)
    for at in range(start, len(wire)):
        try:
            parser.feed_data(wire[at : at + 1])
        except httptools.HttpParserUpgrade:
            # The request is whole; what follows would be another protocol if we spoke it.
            assert message.is_complete
        except httptools.HttpParserError as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        if message.is_complete:
            return _read(parser.get_method(), message.url, message.headers, message.body, at + 1)
    raise Incomplete


def _read(
    method: bytes, target: bytes, fields: Iterable[tuple[bytes, bytes]], body: bytes, end: int
) -> Read:
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.strip(b" \t").decode("latin-1")
        if "_" not in name:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if target.startswith(b"/") or target == b"*":
        path, _, query = target.partition(b"?")
    else:
        url = httptools.parse_url(bytes(target))
        path, query = url.path or b"/", url.query or b""
    text = (path.decode("latin-1"), query.decode("latin-1"))
    return Read(method.decode("latin-1"), text, headers, bytes(body), end)
