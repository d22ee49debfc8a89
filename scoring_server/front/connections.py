"""The clients' connections together: the open set, their timers, the bytes they hold."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import time
from email.utils import formatdate
from typing import Any, Dict, Optional, Set

from ..config import ServerSettings
from ..routes import Headers, status_line
from .deadlines import Deadlines
from .http1 import HttpError
from .request import Client, PendingRequest

# Seconds for: a part of a request to come, the next request on a kept-alive connection, the rest
# of a refused body and the client's own close, a client to read on in a streamed answer.
READ_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 75.0
LINGER_SECONDS = 2.0
SLOW_READER_SECONDS = 30.0
# A body comes with this many bytes a second at least, over any time of so many seconds.
LEAST_RATE = 1024
RATE_SECONDS = 10.0
# What all connections may hold where the operator does not say: largest bodies, and bytes.
_HELD_BODIES, _HELD_AT_LEAST = 4, 1 << 26
_SPARE_DESCRIPTORS = 64


class Pace:
    """Whether a body comes fast enough, from now on."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._spare_seconds = RATE_SECONDS

    def came(self, size: int) -> None:
        """So many bytes more are here.

        :raises HttpError: they came too slowly (408).
        """
        now = time.monotonic()
        gained = size / LEAST_RATE - (now - self._since)
        self._since = now
        self._spare_seconds = min(self._spare_seconds + gained, RATE_SECONDS)
        if self._spare_seconds < 0:
            raise HttpError(408, "The body came too slowly.")


class Connections:
    """Keeps every connection within its time and all of them within their memory.

    `held` are the bytes that they hold together: what has come of requests, until the last byte of
    the answer is written, and what is written and has not been read. `most_held` bounds them.

    :param listener: the socket that they come from.
    """

    def __init__(self, listener: socket.socket, settings: ServerSettings) -> None:
        self.loop = asyncio.get_running_loop()
        self.listener = listener
        self.max_body = settings.max_body
        self.cross_origin: Any = None
        if settings.cors_origin:
            from ..web.cross_origin import CrossOrigin  # here: most servers name no origin

            self.cross_origin = CrossOrigin(settings.cors_origin)
        self.is_draining = False
        self.open: Set[Client] = set()
        self.held = 0
        self.most_held = settings.max_held or max(_HELD_BODIES * settings.max_body, _HELD_AT_LEAST)
        # Accepted, and not clients yet; the oldest first.
        self.pending: Dict[socket.socket, None] = {}
        self.shake_hands = settings.tls_cert is not None
        self._openings: Dict[int, str] = {}
        self._openings_until = 0.0
        late = HttpError(408, "The request did not come in time.")
        self.reading = Deadlines(self.loop, READ_SECONDS, lambda client: client.refuse(late))
        self.idle = Deadlines(self.loop, KEEP_ALIVE_SECONDS, lambda client: client.close())
        self.lingering = Deadlines(self.loop, LINGER_SECONDS, self._lingers_too_long)
        self._slow_readers = Deadlines(self.loop, SLOW_READER_SECONDS, self._reads_too_slowly)
        self._changed = asyncio.Event()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.most_open = max(hard - _SPARE_DESCRIPTORS, 16) if hard > 0 else 1 << 20

    def opened(self, client: Client) -> None:
        """A client has connected."""
        self.open.add(client)
        if len(self.open) > self.most_open and not self.close_one():
            client.refuse(HttpError(503, "There are too many connections; try again later."))
        else:
            self.idle.add(client)

    def accepted(self, connection: socket.socket) -> None:
        """Somebody has connected, and is no client yet: make room where there is none."""
        self.pending[connection] = None
        if len(self.open) + len(self.pending) > self.most_open:
            self.close_one()

    def close_one(self) -> bool:
        """Close a connection that waits for no answer, so that there is room for another.

        In this order: one that has had its last answer, one in its TLS handshake, one between two
        requests, one whose request is not complete; of each the oldest, so that a probe gets in,
        whoever else keeps connections open.

        :returns: whether there was one.
        """
        client = self.lingering.oldest()
        if client is None and self.shake_hands and len(self.pending) > 1:
            connection = next(iter(self.pending))
            del self.pending[connection]
            # Its transport reads the end, and closes it. Or it has gone by itself.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            return True
        client = client or self.idle.oldest() or self.reading.oldest()
        if client is None:
            return False
        client.abort()
        # Its end comes with the loop's next turn; until then others are accepted.
        self.closed(client)
        return True

    def closed(self, client: Client) -> None:
        """A client's connection has ended."""
        self.open.discard(client)
        self.caught_up(client)
        for each in (self.reading, self.idle, self.lingering):
            each.remove(client)
        self._changed.set()

    def check_held(self, more: int = 0) -> None:
        """Check that all that is held, and `more` bytes, are within the bound.

        :raises HttpError: they are not (503).
        """
        if self.held + more > self.most_held:
            raise HttpError(503, "Too much is being sent at once: {} bytes.".format(self.held))

    # --- clients that read slowly --------------------------------------------------------------

    def is_slow(self, client: Client, link: object) -> None:
        """The client does not read as fast as there is something to write.

        :param link: that of the process which makes what the client should read, if one does.
        """
        client.unsent = client.transport.get_write_buffer_size()
        self._slow_readers.add(client)
        if link is not None:
            client.held_up = link
            client.held_up.transport.pause_reading()

    def caught_up(self, client: Client) -> None:
        """The client has read what there was, or has gone: nobody waits for it any more."""
        self._slow_readers.remove(client)
        link, client.held_up = client.held_up, None
        if link is not None and not link.transport.is_closing():
            link.transport.resume_reading()

    def _reads_too_slowly(self, client: Client) -> None:
        self._close_unless_it_reads(client, self._slow_readers)

    def _lingers_too_long(self, client: Client) -> None:
        self._close_unless_it_reads(client, self.lingering)

    @staticmethod
    def _close_unless_it_reads(client: Client, deadlines: Deadlines) -> None:
        unsent = client.transport.get_write_buffer_size()
        if unsent and (client.unsent is None or unsent < client.unsent):
            client.unsent = unsent
            deadlines.add(client)
        else:
            client.transport.abort()

    # --- the end -------------------------------------------------------------------------------

    def answered(self) -> None:
        """A request has been answered, or needs no answer any more."""
        if self.is_draining:
            self._changed.set()

    async def drain(self, linger: float, longest: float) -> None:
        """Wait until no client waits for an answer and none may be sending a request; close all.

        :param linger: seconds for clients that may be sending.
        :param longest: seconds for all of it.
        """
        now = time.monotonic()
        lingers_until, ends = now + linger, now + longest
        while self.open and now < ends:
            busy = any(
                not client.is_idle or client.transport.get_write_buffer_size()
                for client in self.open
            )
            if now >= lingers_until and not busy:
                break
            self._changed.clear()
            until = ends if busy else min(lingers_until, ends)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(until - now, 0.01))
            now = time.monotonic()
        for client in list(self.open):
            client.close()

    def let_go(self) -> None:
        """In a new process: close what is the front's, so that the model cannot use it."""
        descriptors = [self.listener.fileno()]
        descriptors += [connection.fileno() for connection in self.pending]
        for client in self.open:
            descriptors.append(client.transport.get_extra_info("socket").fileno())
        descriptors.append(self.loop._selector.fileno())  # type: ignore[attr-defined]
        # What is written there are signals to the front: its own stop, for one.
        signal.set_wakeup_fd(-1)
        for end in (self.loop._ssock, self.loop._csock):  # type: ignore[attr-defined]
            descriptors.append(end.fileno())
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise

    # --- heads of answers ----------------------------------------------------------------------

    def head(
        self, request: PendingRequest, status: int, headers: Headers, length: Optional[str]
    ) -> bytes:
        """The head of an answer; `request.head.keep_alive` says what becomes of the connection.

        :param length: the field that says how long the body is, if one does.
        """
        lines = [self._opening(status)]
        for name, value in headers:
            lines.append(name + ": " + value)
        lines.append("X-Request-Id: " + request.request_id)
        asked = request.head
        if self.cross_origin is not None:
            more = self.cross_origin.headers(asked.headers.get("origin"))
            lines += [name + ": " + value for name, value in more]
        if length is not None:
            lines.append(length)
        if self.is_draining:
            asked.keep_alive = False
        if not asked.keep_alive:
            lines.append("Connection: close")
        elif asked.version == "1.0":
            lines.append("Connection: keep-alive")
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")

    def _opening(self, status: int) -> str:
        """The status line and the Date field, made once a second."""
        now = time.monotonic()
        if now >= self._openings_until:
            self._openings.clear()
            self._openings_until = now + 1
        opening = self._openings.get(status)
        if opening is None:
            date = formatdate(usegmt=True)
            opening = "HTTP/1.1 {}\r\nDate: {}".format(status_line(status), date)
            self._openings[status] = opening
        return opening
