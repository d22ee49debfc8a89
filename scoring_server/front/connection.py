"""One client's connection: gathers a request until it is complete, writes the answer.

A slow client costs a buffer here and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from .http1 import HEAD_END, MAX_HEAD, ChunkedBody, Head, HttpError, parse_head
from .request import Request

if TYPE_CHECKING:
    from .front import Front

# What a client may send ahead of the answer to its last request.
_MAX_AHEAD = 1 << 16
# What is read and thrown away after a refusal, so that the refusal is not lost in a reset.
_MAX_DISCARDED = 1 << 24

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

IDLE, HEAD, BODY, WAITING, STREAMING, DISCARDING = range(6)


class Connection(asyncio.Protocol):
    """Reads requests, hands complete ones to the front, writes what it answers."""

    transport: Any

    def __init__(self, front: Front) -> None:
        self._front = front
        self._buffer = bytearray()
        self._head: Optional[Head] = None
        self._body: List[bytes] = []
        self._missing = 0
        self._chunked: Optional[ChunkedBody] = None
        self._began = 0.0
        self._held = 0
        self._discarded = 0
        self._is_chunked_answer = False
        self._has_ended = False
        self.request: Optional[Request] = None
        self.state = IDLE
        # Bytes that the client had not read when it was last looked at; the worker that waits
        # for it to read on.
        self.unsent: Optional[int] = None
        self.held_up: Any = None

    # --- what the transport calls --------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername") or ("", 0)
        self.peer = (str(peer[0]), str(peer[1])) if isinstance(peer, tuple) else ("", "0")
        self._front.opened(self)

    def connection_lost(self, _error: Optional[BaseException]) -> None:
        self._hold(0)
        self._front.closed(self)

    def eof_received(self) -> bool:
        # Who has sent all it wants to may still read the answer.
        self._has_ended = True
        if self.state in (HEAD, BODY):
            error = HttpError(400, "the request ended before it was complete")
            self._front.refuse(self, error, self._head)
        # So may who has sent further requests, which `_go_on` is about to read.
        return self.state in (WAITING, STREAMING) or (self.state == IDLE and bool(self._buffer))

    def pause_writing(self) -> None:
        self._front.client_is_slow(self)

    def resume_writing(self) -> None:
        self._front.client_caught_up(self)

    def data_received(self, data: bytes) -> None:
        if self.state == DISCARDING:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.transport.abort()
            return
        if self.state == BODY and self._chunked is None:
            self._take_body(data)
            return
        self._buffer += data
        if self.state in (WAITING, STREAMING):
            if len(self._buffer) > _MAX_AHEAD:
                self.transport.pause_reading()
            return
        self._advance()

    # --- reading -------------------------------------------------------------------------------

    def _advance(self) -> None:
        try:
            if self.state == IDLE:
                if not self._buffer:
                    return
                self.state = HEAD
                self._began = time.monotonic()
                self._front.reading.add(self)
                self._front.idle.remove(self)
            if self.state == HEAD:
                self._read_head()
            elif self.state == BODY and self._chunked is not None:
                self._read_chunked()
        except HttpError as error:
            self._front.refuse(self, error, self._head)

    def _read_head(self) -> None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # RFC 9112 2.2: empty lines before a request are ignored
            del buffer[:2]
        end = buffer.find(HEAD_END)
        if end > MAX_HEAD or (end < 0 and len(buffer) > MAX_HEAD):
            raise HttpError(431, "the head is larger than {} bytes".format(MAX_HEAD))
        if end < 0:
            return
        head = self._head = parse_head(bytes(buffer[:end]))
        del buffer[: end + 4]
        self._front.admit(head)
        if head.length == 0:
            self._complete(b"")
            return
        self.state = BODY
        if head.expects_continue and not buffer:
            self.transport.write(_CONTINUE)
        if head.length is None:
            self._chunked = ChunkedBody(self._front.max_body)
            self._read_chunked()
            return
        self._missing = head.length
        data = bytes(buffer)
        buffer.clear()
        if data:
            self._take_body(data)

    def _take_body(self, data: bytes) -> None:
        if len(data) > self._missing:
            self._buffer += data[self._missing :]
            data = data[: self._missing]
        self._body.append(data)
        self._missing -= len(data)
        if self._missing:
            self._progress(len(data))
            return
        body = data if len(self._body) == 1 else b"".join(self._body)
        self._complete(body)

    def _read_chunked(self) -> None:
        assert self._chunked is not None
        before = self._chunked.size
        if self._chunked.take(self._buffer):
            self._complete(bytes(self._chunked.body))
        else:
            self._progress(self._chunked.size - before)

    def _progress(self, size: int) -> None:
        """A part of a body is here: its sender has its time anew, within the memory's bound."""
        self._front.reading.add(self)
        try:
            self._hold(self._held + size)
        except HttpError as error:
            self._front.refuse(self, error, self._head)

    def _hold(self, size: int) -> None:
        change, self._held = size - self._held, size
        if change:
            self._front.hold(change)

    def _complete(self, body: bytes) -> None:
        assert self._head is not None
        head, self._head = self._head, None
        self._body = []
        self._chunked = None
        self._hold(0)
        self.state = WAITING
        self._front.reading.remove(self)
        self.request = Request(self, head, body, self._began)
        self._front.handle(self.request)

    # --- writing -------------------------------------------------------------------------------

    def answer(
        self, request: Request, status: str, headers: List[Tuple[str, str]], body: bytes
    ) -> None:
        """Write a whole answer."""
        request.sent = len(body)
        has_length = any(name.lower() == "content-length" for name, _ in headers)
        if not has_length and status[:3] not in ("204", "304"):
            headers = [*headers, ("Content-Length", str(len(body)))]
        head = self._answer_head(request, status, headers)
        if request.head.method == "HEAD":
            body = b""
        self.transport.write(head + body if len(body) < 1 << 16 else head)
        if len(body) >= 1 << 16:
            self.transport.write(body)
        self._answered(request)

    def begin(self, request: Request, status: str, headers: List[Tuple[str, str]]) -> None:
        """Write the head of an answer whose length is not known; `piece` and `end` follow."""
        self.state = STREAMING
        self._is_chunked_answer = request.head.version == "1.1"
        if self._is_chunked_answer:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        else:
            request.head.keep_alive = False
        self.transport.write(self._answer_head(request, status, headers))

    def piece(self, request: Request, data: bytes) -> None:
        """Write a piece of a streamed body."""
        request.sent += len(data)
        if request.head.method == "HEAD":
            return
        if self._is_chunked_answer:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.transport.write(data)

    def end(self, request: Request, *, complete: bool = True) -> None:
        """End a streamed answer; one that is not complete ends with the connection."""
        if not complete:
            self.transport.abort()
            return
        if self._is_chunked_answer and request.head.method != "HEAD":
            self.transport.write(b"0\r\n\r\n")
        self._front.client_caught_up(self)
        self._answered(request)

    def _answer_head(self, request: Request, status: str, headers: List[Tuple[str, str]]) -> bytes:
        if any(name.lower() == "connection" and value == "close" for name, value in headers):
            request.head.keep_alive = False
            headers = [item for item in headers if item[0].lower() != "connection"]
        if self._front.is_draining:
            request.head.keep_alive = False
        lines = ["HTTP/1.1 " + status, "Date: " + self._front.date()]
        lines += [name + ": " + value for name, value in headers]
        lines.append("X-Request-Id: " + request.request_id)
        if not request.head.keep_alive:
            lines.append("Connection: close")
        elif request.head.version == "1.0":
            lines.append("Connection: keep-alive")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _answered(self, request: Request) -> None:
        self.request = None
        self._front.done(request)
        if not request.head.keep_alive:
            self._finish()
            return
        self.state = IDLE
        if self._buffer:
            self._front.loop.call_soon(self._go_on)
        elif self._has_ended:
            self._finish()
        else:
            self._front.idle.add(self)

    def _go_on(self) -> None:
        """Read the next request, which came before the last one was answered."""
        if not self._has_ended:
            self.transport.resume_reading()
        self._advance()
        if self._has_ended and self.state in (HEAD, BODY):
            self.eof_received()

    def _finish(self) -> None:
        """Close once the client has read: a reset would take what is still under way to it."""
        self.state = DISCARDING
        self._buffer.clear()
        self._body = []
        self._hold(0)
        self._front.reading.remove(self)
        self._front.lingering.add(self)
        if self._has_ended or not self.transport.can_write_eof():
            # `close` sends what is left to send, too.
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            # The client has reset the connection; raised in here, it would end the channel of the
            # worker whose answer this was.
            self.transport.abort()
            return
        self.transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection, or cut one that is in the midst of something."""
        if self.state == IDLE:
            self.transport.close()
        else:
            self.transport.abort()


def status_line(status: int) -> str:
    """'503 Service Unavailable'."""
    return "{} {}".format(status, _REASONS.get(status, "Unknown"))


def http_date() -> str:
    """The time for a Date field."""
    return formatdate(usegmt=True)
