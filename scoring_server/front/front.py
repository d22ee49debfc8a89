"""The front: takes connections, answers what needs no model, queues the rest for the workers.

It never runs the model's code, so it answers in milliseconds whatever the model does: `/ping`,
503 when the queue is full, 504 when time is up, 500 for requests inside a worker that died.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import os
import resource
import socket
import time
from typing import Any, Callable, Dict, Optional, Set

from ..config import ServerConfig
from ..scoring.application import too_large
from ..worker.process import Wsgi
from .access_log import AccessLog
from .connection import IDLE, STREAMING, WAITING, Connection, http_date
from .deadlines import Deadlines
from .dispatcher import JSON_HEADERS, Dispatcher
from .http1 import Head, HttpError
from .metrics import CONTENT_TYPE as METRICS_TYPE
from .metrics import Metrics
from .request import Request

logger = logging.getLogger(__name__)

# Seconds for: a part of a request to come, the next request on a kept-alive connection, the rest
# of a refused body and the client's own close, a client to read on in a streamed answer.
READ_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 75.0
LINGER_SECONDS = 2.0
SLOW_READER_SECONDS = 30.0
# At a stop, a client that may be sending its next request gets this long; in a reload, where
# nobody waits for the end, longer.
STOP_LINGER_SECONDS = 0.5
DRAIN_LINGER_SECONDS = 10.0
# Bodies that are only partly here may take this much memory together, in largest bodies.
HELD_BODIES = 4
_LISTEN_BACKLOG = 2048
_SPARE_DESCRIPTORS = 64

_JSON = [("Content-Type", "application/json")]
_OPEN_ROUTES = ("/ping", "/health")
_PING_METHODS = ("GET", "HEAD")


class Front:
    """Serves on `listener` until told to stop.

    :param config: the configuration.
    :param load: gives a worker its application (see `worker.run_worker`).
    :param token: what clients must send as a bearer token, or None.
    :param tls: for https, or None.
    :param on_ready: called once, when it listens and a worker has the model.
    :param on_crash: called with (reason, early) when a worker crashed; early: it had answered
        nothing.
    :param on_draining: called once it takes no more connections.
    """

    def __init__(
        self,
        config: ServerConfig,
        load: Callable[[], Wsgi],
        listener: socket.socket,
        *,
        token: Optional[bytes] = None,
        tls: Any = None,
        on_ready: Callable[[], None],
        on_failed: Callable[[Any], None],
        on_crash: Callable[[str, bool], None],
        on_draining: Callable[[], None],
    ) -> None:
        self.config = config
        self.settings = config.server
        self.max_body = config.server.max_body
        self.loop = asyncio.get_running_loop()
        self._listener = listener
        self._server: Any = None
        self._token = token
        self._tls = tls
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._on_draining = on_draining
        self.is_ready = False
        self.is_draining = False
        self.exit_code = 0
        self._stopped = asyncio.Event()
        self._connections: Set[Connection] = set()
        self._held = 0
        self._date = ("", 0.0)
        self.reading = Deadlines(self.loop, READ_SECONDS, self._read_too_slowly)
        self.idle = Deadlines(self.loop, KEEP_ALIVE_SECONDS, Connection.close)
        self.lingering = Deadlines(self.loop, LINGER_SECONDS, self._lingers_too_long)
        self._slow_readers = Deadlines(self.loop, SLOW_READER_SECONDS, self._reads_too_slowly)
        self.metrics = Metrics(config)
        self.access_log = AccessLog(self.loop, config.server)
        self._dispatcher = Dispatcher(
            config,
            load,
            self.metrics,
            on_change=self._workers_changed,
            on_crash=on_crash,
            in_child=self._let_go,
            on_done=self.done,
        )
        self.pool = self._dispatcher.pool
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._max_connections = max(hard - _SPARE_DESCRIPTORS, 16) if hard > 0 else 1 << 20

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> int:
        """Start the workers, serve, and return the exit code once stopped."""
        self.pool.start()
        await self._stopped.wait()
        self.access_log.flush()
        return self.exit_code

    async def _listen(self) -> None:
        self._listener.setblocking(False)
        # Inherited by what it accepts: connections that linger then leave the port to the next.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server = await self.loop.create_server(
            lambda: Connection(self), sock=self._listener, backlog=_LISTEN_BACKLOG, ssl=self._tls
        )
        self.is_ready = True
        self._on_ready()

    def stop(self, linger: float) -> None:
        """Take no new connections, finish what is there, let the workers end."""
        if self.is_draining:
            return
        self.is_draining = True
        if not self._server:
            self.pool.close()
            self._stopped.set()
            return
        self.loop.create_task(self._drain(linger))

    async def _drain(self, linger: float) -> None:
        if linger == STOP_LINGER_SECONDS:
            # What the kernel has let in gets its answer; from then on it refuses, so that nobody
            # waits for a server that does not come. In a reload the next server takes them.
            await self._iterations(2)
            self.loop.remove_reader(self._listener)
            self._listener.shutdown(socket.SHUT_RDWR)
        else:
            self.loop.remove_reader(self._listener)
        # asyncio needs this long to make a transport of each connection that was accepted.
        await self._iterations(4)
        self._server.close()
        self._on_draining()
        ends = time.monotonic() + self.settings.graceful_timeout
        lingers_until = time.monotonic() + linger
        while True:
            busy = self._in_flight()
            now = time.monotonic()
            if now >= lingers_until and not busy:
                break
            if not self._connections or now >= ends:
                break
            self._drained = self.loop.create_future()
            wait_until = ends if busy else min(lingers_until, ends)
            try:
                await asyncio.wait_for(self._drained, max(wait_until - now, 0.01))
            except asyncio.TimeoutError:
                continue
        for connection in list(self._connections):
            connection.close()
        self.pool.close()
        self._stopped.set()

    @staticmethod
    async def _iterations(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    _drained: Any = None

    def _in_flight(self) -> bool:
        return any(
            connection.state != IDLE or connection.transport.get_write_buffer_size()
            for connection in self._connections
        )

    def _wake_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _let_go(self) -> None:
        """In a new worker: close the clients' connections, so that their end is not delayed."""
        descriptors = [self._listener.fileno()]
        for connection in self._connections:
            descriptors.append(connection.transport.get_extra_info("socket").fileno())
        descriptors.append(self.loop._selector.fileno())  # type: ignore[attr-defined]
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise

    # --- connections ---------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)
        self.idle.add(connection)
        if len(self._connections) > self._max_connections:
            self.refuse(connection, HttpError(503, "too many connections"), None)

    def closed(self, connection: Connection) -> None:
        """A client's connection has ended."""
        self._connections.discard(connection)
        self.client_caught_up(connection)
        for each in (self.reading, self.idle, self.lingering):
            each.remove(connection)
        request = connection.request
        if request is not None and not request.status:
            self._dispatcher.client_gone(request)
        self._wake_drain()

    def hold(self, change: int) -> None:
        """Bodies that are partly here take `change` bytes more; raises `HttpError`."""
        self._held += change
        if change > 0 and self._held > HELD_BODIES * self.max_body:
            raise HttpError(503, "too many large bodies are being sent at once")

    def admit(self, head: Head) -> None:
        """Look at a head before the body is read; raises `HttpError`."""
        if head.path not in _OPEN_ROUTES and not self._may_come_in(head):
            raise HttpError(401, "a valid bearer token is needed")
        if head.length is not None and head.length > self.max_body:
            raise HttpError(413, too_large(self.max_body).message)
        if head.headers.get("expect") and self._dispatcher.is_full:
            raise HttpError(503, "the queue is full")

    def _may_come_in(self, head: Head) -> bool:
        if self._token is None:
            return True
        scheme, _, given = head.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), self._token
        )

    def refuse(self, connection: Connection, error: HttpError, head: Optional[Head]) -> None:
        """Answer what will not be read to its end, and close."""
        head = head or Head("GET", "/", "1.1", {})
        head.keep_alive = False
        connection.request = Request(connection, head, b"", time.monotonic())
        connection.state = WAITING
        self._dispatcher.answer_error(connection.request, error.status, error.message)

    def _read_too_slowly(self, connection: Connection) -> None:
        self.refuse(connection, HttpError(408, "the request did not come in time"), None)

    def client_is_slow(self, connection: Connection) -> None:
        """The client does not read as fast as there is something to write."""
        connection.unsent = connection.transport.get_write_buffer_size()
        self._slow_readers.add(connection)
        request = connection.request
        if connection.state == STREAMING and request is not None and request.worker is not None:
            connection.held_up = request.worker
            connection.held_up.transport.pause_reading()

    def client_caught_up(self, connection: Connection) -> None:
        """The client has read what there was, or has gone: nobody waits for it any more."""
        self._slow_readers.remove(connection)
        link, connection.held_up = connection.held_up, None
        if link is not None and not link.transport.is_closing():
            link.transport.resume_reading()

    def _reads_too_slowly(self, connection: Connection) -> None:
        self._close_unless_it_reads(connection, self._slow_readers)

    def _lingers_too_long(self, connection: Connection) -> None:
        self._close_unless_it_reads(connection, self.lingering)

    @staticmethod
    def _close_unless_it_reads(connection: Connection, deadlines: Deadlines) -> None:
        unsent = connection.transport.get_write_buffer_size()
        if unsent and (connection.unsent is None or unsent < connection.unsent):
            connection.unsent = unsent
            deadlines.add(connection)
        else:
            connection.transport.abort()

    # --- requests ------------------------------------------------------------------------------

    def handle(self, request: Request) -> None:
        """Answer a complete request, or have a worker do it."""
        path = request.head.path
        if path in _OPEN_ROUTES and request.head.method in _PING_METHODS:
            status = 200 if self.pool.loaded else 503
            self._dispatcher.reply(request, status, JSON_HEADERS, b"\n")
        elif path == "/metrics" and request.head.method in _PING_METHODS:
            queued, in_workers = self._dispatcher.queue_length(), self._dispatcher.in_workers()
            text = self.metrics.render(self.pool, queued, in_workers)
            self._dispatcher.reply(request, 200, [("Content-Type", METRICS_TYPE)], text)
        else:
            self._dispatcher.put(request)

    def _workers_changed(self) -> None:
        if self.pool.loaded:
            if not self.is_ready and self._server is None:
                self._server = False
                self.loop.create_task(self._listen())
        elif not self.is_ready and self.pool.failure is not None and not self._stopped.is_set():
            self.exit_code = 1
            self._on_failed(self.pool.failure)
            self._stopped.set()

    def done(self, request: Request) -> None:
        """The answer has been written, or nobody waits for it any more."""
        now = time.monotonic()
        self.metrics.observe(request, now)
        self.access_log.note(request, now)
        if self.is_draining:
            self._wake_drain()

    def date(self) -> str:
        """The value of the Date field, made once a second."""
        text, until = self._date
        now = time.monotonic()
        if now >= until:
            text = http_date()
            self._date = (text, now + 1)
        return text

    def summary(self) -> Dict[str, Any]:
        """What `launcher ps` shows."""
        return {
            "requests": self.metrics.total,
            "workers": sorted(link.pid for link in self.pool.loaded),
            "queue": self._dispatcher.queue_length(),
        }
