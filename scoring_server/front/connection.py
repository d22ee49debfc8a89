"""One client's connection: gathers a request until it is complete, writes the answer.

A slow client costs a buffer here and nothing else.
"""

from __future__ import annotations

import time
from typing import Any, Optional, Tuple

from ..route_table import Match
from ..routes import Answer, Headers
from .connections import Connections, Pace
from .http1 import HEAD_END, MAX_HEAD, ChunkedBody, Head, HttpError, parse_head
from .request import Client, PendingRequest, RequestHandler

# What a client may send ahead of the answer to its last request.
_MAX_AHEAD = 1 << 16
# What is read and thrown away after a refusal, so that the refusal is not lost in a reset.
_MAX_DISCARDED = 1 << 24
# A client mostly sends one head again and again: its last is kept, if it has no more bytes.
_MAX_KNOWN_HEAD = 2048
# asyncio's own size, 256 KB, is a new mapping of memory for each read: several times a read's cost.
_READ_SIZE = 1 << 16
# Empty lines before one request.
_MAX_EMPTY_LINES = 8

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

IDLE, HEAD, BODY, WAITING, STREAMING, DISCARDING = range(6)


class Connection(Client):
    """Reads requests, hands complete ones on, writes the answers.

    :param connections: all of them.
    :param handler: has the requests answered.
    """

    def __init__(self, connections: Connections, handler: RequestHandler) -> None:
        self._connections = connections
        self._handler = handler
        self._buffer = bytearray()
        # The last head with its empty line, as it was sent; what it says; what takes it.
        self._known: Optional[Tuple[bytes, Head, Match]] = None
        self._head: Optional[Head] = None
        self._match: Optional[Match] = None
        self._body = bytearray()
        self._missing = self._empty_lines = self._held = self._discarded = 0
        self._chunked: Optional[ChunkedBody] = None
        self._is_unread = self._goes_on = False
        self._is_chunked_answer = self._has_ended = False
        self._request: Optional[PendingRequest] = None
        self._state = IDLE

    @property
    def is_idle(self) -> bool:
        return self._state == IDLE

    @property
    def has_begun_answer(self) -> bool:
        return self._state == STREAMING

    # --- what the transport calls --------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        # To hear of every byte that the client has not read, and of the last one that it reads.
        transport.set_write_buffer_limits(high=1, low=0)
        transport.max_size = _READ_SIZE
        peer = transport.get_extra_info("peername") or ("", 0)
        self.peer = (str(peer[0]), str(peer[1])) if isinstance(peer, tuple) else ("", "0")
        self._connections.opened(self)

    def connection_lost(self, _error: Optional[BaseException]) -> None:
        self._hold(0)
        self._connections.closed(self)
        request = self._request
        if request is not None and not request.status:
            self._handler.client_gone(request)

    def eof_received(self) -> bool:
        # Who has sent all it wants to may still read the answer.
        self._has_ended = True
        if self._state in (HEAD, BODY):
            self.refuse(HttpError(400, "The request ended before it was complete."))
        # So may who has sent further requests, which `_go_on` is about to read.
        return self._state in (WAITING, STREAMING) or (self._state == IDLE and bool(self._buffer))

    def pause_writing(self) -> None:
        self._is_unread = True
        # Who does not read gets no further answers made. In IDLE it is TLS that wrote, and goes on.
        if self._state in (WAITING, STREAMING) and not self._has_ended:
            self.transport.pause_reading()
        streamed = self._request if self._state == STREAMING else None
        self._connections.is_slow(self, streamed and streamed.worker)

    def resume_writing(self) -> None:
        self._is_unread = False
        self._connections.caught_up(self)
        if self._state == DISCARDING:
            self._hold(0)
            return
        if self._state in (IDLE, WAITING, STREAMING):
            self._hold(self._in_hand())
        if self._state == IDLE:
            self._rest()
        if not self._has_ended and len(self._buffer) <= _MAX_AHEAD:
            self.transport.resume_reading()

    def _in_hand(self) -> int:
        """Bytes of the request that is being answered, of what came after it, of what is unread."""
        request = 0 if self._request is None else len(self._request.body)
        unread = self.transport.get_write_buffer_size() if self._is_unread else 0
        return request + len(self._buffer) + unread

    def data_received(self, data: bytes) -> None:
        if self._state == IDLE and self._take_whole(data):
            return
        if self._state == DISCARDING:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.transport.abort()
            return
        if self._state == BODY and self._chunked is None:
            self._take_body(data)
            return
        self._buffer += data
        if self._state in (WAITING, STREAMING) or (
            self._state == IDLE and (self._is_unread or self._goes_on)
        ):
            self._hold(self._held + len(data))
            if len(self._buffer) > _MAX_AHEAD:
                self.transport.pause_reading()
            return
        self._advance(len(data))

    # --- reading -------------------------------------------------------------------------------

    def _advance(self, size: int) -> None:
        """Read on.

        :param size: how many bytes have come.
        """
        try:
            if self._state == IDLE:
                if not self._buffer:
                    return
                self._state = HEAD
                self._began = time.monotonic()
                self._connections.reading.add(self)
                self._connections.idle.remove(self)
            if self._state == HEAD:
                self._read_head()
            elif self._state == BODY and self._chunked is not None:
                self._read_chunked(size)
        except HttpError as error:
            self.refuse(error)

    def _take_whole(self, data: bytes) -> bool:
        """Take a request that has come whole and alone, as most do; whether it was that."""
        if self._buffer or self._is_unread or self._goes_on:
            return False
        if self._known is None or not data.startswith(self._known[0]):
            end = data.find(HEAD_END)
            if not 0 < end < _MAX_KNOWN_HEAD:
                return False
            try:
                self._look_at(data[: end + 4])
            except HttpError:  # `_read_head` meets it again, and has it refused
                return False
        if self._known is None:
            return False
        wire, head, match = self._known
        size, connections = len(data) - len(wire), self._connections
        if size != head.length or connections.held + size > connections.most_held:
            return False
        connections.idle.remove(self)
        self._hold(size)
        self._begin(PendingRequest(self, head, match, data[len(wire) :], time.monotonic()))
        return True

    def _look_at(self, wire: bytes) -> Tuple[Head, Match]:
        """Parse a head (with its empty line) and find what takes it, if it is not the last one."""
        if self._known is not None and self._known[0] == wire:
            return self._known[1:]
        self._known = None
        head = self._head = parse_head(wire[:-4])
        match = self._handler.admit(head)
        # Whether one that expects something is let in depends on more than its head.
        if len(wire) <= _MAX_KNOWN_HEAD and "expect" not in head.headers:
            self._known = wire, head, match
        return head, match

    def _read_head(self) -> None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # RFC 9112 2.2: empty lines before a request are ignored
            del buffer[:2]
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise HttpError(400, "The request begins with too many empty lines.")
        if not buffer:
            # No request, and so none that could come too late.
            self._connections.reading.remove(self)
            self._rest()
            return
        end = buffer.find(HEAD_END)
        if end > MAX_HEAD or (end < 0 and len(buffer) > MAX_HEAD):
            raise HttpError(431, "The head is larger than {} bytes.".format(MAX_HEAD))
        if end < 0:
            self._hold(len(buffer))
            self._connections.check_held()
            return
        wire = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        head, self._match = self._look_at(wire)
        self._head = head
        if head.length == 0:
            self._complete(b"")
            return
        self._connections.check_held(head.length or 0)
        self._state = BODY
        self._pace = Pace()
        if head.expects_continue and not buffer:
            self.transport.write(_CONTINUE)
        if head.length is None:
            self._chunked = ChunkedBody(self._connections.max_body)
            self._read_chunked(len(buffer))
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
        self._missing -= len(data)
        if not self._missing and not self._body:
            self._complete(data)
            return
        self._body += data
        if self._missing:
            self._progress(len(data), len(self._body))
        else:
            self._complete(self._body)

    def _read_chunked(self, size: int) -> None:
        assert self._chunked is not None
        if self._chunked.take(self._buffer):
            self._complete(self._chunked.body)
        else:
            self._progress(size, len(self._chunked.body) + len(self._buffer))

    def _progress(self, size: int, held: int) -> None:
        """A part of a body is here: its sender has its time anew, within the bounds.

        :param size: how many bytes have come.
        :param held: how many are here.
        """
        self._connections.reading.add(self)
        try:
            self._pace.came(size)
            self._hold(held)
            self._connections.check_held()
        except HttpError as error:
            self.refuse(error)

    def _hold(self, size: int) -> None:
        self._connections.held += size - self._held
        self._held = size

    def _complete(self, body: Any) -> None:
        assert self._head is not None and self._match is not None  # noqa: PT018
        head, self._body = self._head, bytearray()
        self._chunked, self._empty_lines = None, 0
        self._hold(len(body) + len(self._buffer))
        self._connections.reading.remove(self)
        self._begin(PendingRequest(self, head, self._match, body, self._began))

    def _begin(self, request: PendingRequest) -> None:
        self._state, self._head = WAITING, None
        self._request = request
        self._handler.handle(request)

    def refuse(self, error: HttpError) -> None:
        self._state = WAITING
        self._connections.idle.remove(self)
        self._handler.refuse(self, self._head, error)

    # --- writing -------------------------------------------------------------------------------

    def answer(self, request: PendingRequest, answer: Answer) -> None:
        body: Any = answer.body
        request.status = answer.status
        request.sent = len(body)
        length = None if answer.status in (204, 304) else "Content-Length: %d" % len(body)
        data = self._connections.head(request, answer.status, answer.headers, length)
        if request.head.method == "HEAD":
            body = b""
        if len(body) < 1 << 16:
            self.transport.write(data + body)
        else:
            self.transport.write(data)
            self.transport.write(body)
        self._answered(request)

    def begin(self, request: PendingRequest, status: int, headers: Headers) -> None:
        self._state = STREAMING
        self._is_chunked_answer = request.head.version == "1.1"
        if not self._is_chunked_answer:
            request.head.keep_alive = False
        length = "Transfer-Encoding: chunked" if self._is_chunked_answer else None
        self.transport.write(self._connections.head(request, status, headers, length))

    def piece(self, request: PendingRequest, data: bytes) -> None:
        request.sent += len(data)
        if request.head.method == "HEAD":
            return
        if self._is_chunked_answer:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.transport.write(data)
        if self._is_unread:
            self._hold(self._in_hand())

    def end(self, request: PendingRequest, *, complete: bool = True) -> None:
        if not complete:
            self.transport.abort()
            return
        if self._is_chunked_answer and request.head.method != "HEAD":
            self.transport.write(b"0\r\n\r\n")
        self._connections.caught_up(self)
        self._answered(request)

    def _answered(self, request: PendingRequest) -> None:
        self._request = None
        if self._is_unread:
            self._hold(self._in_hand())
        elif self._held:
            self._hold(len(self._buffer))
        self._handler.done(request)
        self._connections.answered()
        if not request.head.keep_alive:
            self._finish()
            return
        self._rest()

    def _rest(self) -> None:
        """Wait for the next request, which may be here."""
        self._state = IDLE
        if self._is_unread:
            # `resume_writing` comes back to this.
            return
        if self._buffer:
            self._goes_on = True
            self._connections.loop.call_soon(self._go_on)
        elif self._has_ended:
            self._finish()
        else:
            self._connections.idle.add(self)

    def _go_on(self) -> None:
        """Read the next request, which came before the last one was answered."""
        self._goes_on = False
        if self._state != IDLE or self._is_unread:
            return
        self._advance(0)
        if not self._has_ended and not self._is_unread and len(self._buffer) <= _MAX_AHEAD:
            self.transport.resume_reading()
        if self._has_ended and self._state in (HEAD, BODY):
            self.eof_received()

    def _finish(self) -> None:
        """Close once the client has read: a reset would take what is still under way to it."""
        self._state = DISCARDING
        self._buffer.clear()
        self._body, self._chunked = bytearray(), None
        self._hold(self._in_hand())
        self._connections.reading.remove(self)
        self._connections.lingering.add(self)
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
        if self._state == IDLE:
            self.transport.close()
        else:
            self.transport.abort()
