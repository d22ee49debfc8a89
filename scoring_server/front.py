"""The front: takes connections, answers what needs no model, queues the rest for the workers.

It never runs the model's code, so it answers in milliseconds whatever the model does: `/ping`,
503 when the queue is full, 504 when time is up, 500 for requests inside a worker that died.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import logging
import math
import os
import resource
import socket
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

from . import frames
from .access_log import AccessLog
from .application import too_large
from .config import ServerConfig
from .connection import IDLE, WAITING, Connection, http_date, status_line
from .deadlines import Deadlines
from .errors import DEADLINE_EXCEEDED, INTERNAL_ERROR
from .http1 import Head, HttpError
from .metrics import CONTENT_TYPE as METRICS_TYPE
from .metrics import Metrics
from .request import Request
from .worker import Wsgi
from .worker_pool import WorkerLink, WorkerPool

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
        self._queue: Deque[Request] = deque()
        self._gone_in_queue = 0
        self._connections: Set[Connection] = set()
        self._held = 0
        self._date = ("", 0.0)
        self.reading = Deadlines(self.loop, READ_SECONDS, self._read_too_slowly)
        self.idle = Deadlines(self.loop, KEEP_ALIVE_SECONDS, Connection.close)
        self.lingering = Deadlines(self.loop, LINGER_SECONDS, Connection.close)
        self._slow_readers = Deadlines(self.loop, SLOW_READER_SECONDS, Connection.close)
        self._answers = (
            Deadlines(self.loop, self.settings.timeout, self._timed_out)
            if self.settings.timeout
            else None
        )
        self.metrics = Metrics(config)
        self.access_log = AccessLog(self.loop, config.server)
        self.pool = WorkerPool(
            config,
            load,
            on_frame=self._on_frame,
            on_lost=self._on_lost,
            on_returned=self._on_returned,
            on_change=self._on_workers_changed,
            on_crash=on_crash,
            in_child=self._let_go,
        )
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
        if self._server is None:
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
        return any(connection.state != IDLE for connection in self._connections)

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
        for each in (self.reading, self.idle, self.lingering, self._slow_readers):
            each.remove(connection)
        request = connection.request
        if request is not None and not request.status:
            request.status = 499  # as nginx logs it: the client has gone
            self._forget(request)
            if request.worker is None:
                # Left in the queue, where finding it would cost more than skipping it.
                self._gone_in_queue += 1
            elif request.number in request.worker.outstanding:
                request.worker.cancel(request)
            self.done(request)
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
        if head.headers.get("expect") and self._queue_length() >= self.settings.backlog:
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
        self._answer_error(connection.request, error.status, error.message)

    def _read_too_slowly(self, connection: Connection) -> None:
        self.refuse(connection, HttpError(408, "the request did not come in time"), None)

    def client_is_slow(self, connection: Connection) -> None:
        """The client does not read as fast as a worker writes: the worker has to wait."""
        self._slow_readers.add(connection)
        request = connection.request
        if request is not None and request.worker is not None:
            request.worker.transport.pause_reading()

    def client_caught_up(self, connection: Connection) -> None:
        """The client has read what there was."""
        self._slow_readers.remove(connection)
        request = connection.request
        if request is not None and request.worker is not None:
            request.worker.transport.resume_reading()

    # --- requests ------------------------------------------------------------------------------

    def handle(self, request: Request) -> None:
        """Answer a complete request, or queue it for the workers."""
        path = request.head.path
        if path in _OPEN_ROUTES and request.head.method in _PING_METHODS:
            healthy = bool(self.pool.loaded)
            self._reply(request, 200 if healthy else 503, _JSON, b"\n")
            return
        if path == "/metrics" and request.head.method in _PING_METHODS:
            text = self.metrics.render(self.pool, self._queue_length(), self._in_workers())
            self._reply(request, 200, [("Content-Type", METRICS_TYPE)], text)
            return
        link = self.pool.free() if not self._queue else None
        if link is not None:
            link.send(request)
        elif self._queue_length() >= self.settings.backlog:
            self._answer_error(request, 503, "the queue is full")
            return
        else:
            self._queue.append(request)
        if self._answers is not None:
            self._answers.add(request)

    def _dispatch(self) -> None:
        while self._queue:
            if self._queue[0].status:
                self._queue.popleft()
                self._gone_in_queue -= 1
                continue
            link = self.pool.free()
            if link is None:
                return
            link.send(self._queue.popleft())

    def _queue_length(self) -> int:
        return len(self._queue) - self._gone_in_queue

    def _in_workers(self) -> int:
        return sum(len(link.outstanding) for link in self.pool.links.values())

    def _on_frame(self, link: WorkerLink, frame: frames.Frame) -> None:
        request = link.outstanding.get(frame.number)
        if request is None:
            return
        waits = not request.status
        connection = request.connection
        if frame.kind in (frames.ANSWER, frames.BEGIN):
            status, headers, request.stages = frame.meta
            self.metrics.observe_stages(request.stages)
        if frame.kind == frames.ANSWER:
            self.pool.finished(link, request)
            if waits:
                self._forget(request)
                request.status = int(status[:3])
                connection.answer(request, status, headers, frame.body)
            self._dispatch()
        elif frame.kind == frames.BEGIN:
            if waits:
                connection.begin(request, status, headers)
        elif frame.kind == frames.PIECE:
            if waits:
                if self._answers is not None:
                    self._answers.add(request)
                connection.piece(request, frame.body)
        elif frame.kind == frames.END:
            self.pool.finished(link, request)
            if waits:
                self._forget(request)
                request.status = 200 if frame.meta is None else 500
                connection.end(request, complete=frame.meta is None)
            self._dispatch()
        if link.is_retiring and link.outstanding and not link.has_hope:
            link.kill()

    def _on_lost(self, requests: List[Request], reason: str) -> None:
        for request in requests:
            if request.status:
                continue
            self._forget(request)
            message = "the process that answered this request {}".format(reason)
            self._answer_error(request, 500, message, INTERNAL_ERROR)

    def _on_returned(self, requests: List[Request]) -> None:
        for request in reversed(requests):
            request.worker = request.dispatched = None
            if not request.status:
                self._queue.appendleft(request)
        self._dispatch()

    def _on_workers_changed(self) -> None:
        if self.pool.loaded:
            if not self.is_ready and self._server is None:
                self._server = False
                self.loop.create_task(self._listen())
            self._dispatch()
        elif not self.is_ready and self.pool.failure is not None and not self._stopped.is_set():
            self.exit_code = 1
            self._on_failed(self.pool.failure)
            self._stopped.set()

    def _timed_out(self, request: Request) -> None:
        link = request.worker
        limit = "{:g} s".format(self.settings.timeout or 0)
        if link is None:
            message = "the model was busy with other requests for " + limit
            self._gone_in_queue += 1
        else:
            message = "the prediction took longer than " + limit
        if request.connection.state != WAITING:
            request.status = 504
            request.connection.end(request, complete=False)
            self.done(request)
        else:
            self._answer_error(request, 504, message, DEADLINE_EXCEEDED)
        if link is not None and request in link.begun():
            logger.warning("worker %d: %s; it is replaced", link.pid, message)
            self.pool.replace(link, "timeout", kill=not link.has_hope)
        self._dispatch()

    # --- answers -------------------------------------------------------------------------------

    def _answer_error(
        self, request: Request, status: int, message: str, code: str = "BAD_REQUEST"
    ) -> None:
        headers = list(_JSON)
        if status == 503:
            code = "TEMPORARILY_UNAVAILABLE"
            headers.append(("Retry-After", str(self._retry_after())))
        elif status == 401:
            code = "UNAUTHENTICATED"
            headers.append(("WWW-Authenticate", "Bearer"))
        body = json.dumps({"error_code": code, "message": message}).encode("ascii")
        self._reply(request, status, headers, body)

    def _retry_after(self) -> int:
        """Seconds until the queue may be worked off."""
        workers = max(1, len(self.pool.loaded)) * self.pool.capacity
        return min(60, max(1, math.ceil(len(self._queue) * self.pool.service_seconds / workers)))

    def _reply(
        self, request: Request, status: int, headers: List[Tuple[str, str]], body: bytes
    ) -> None:
        request.status = status
        request.connection.answer(request, status_line(status), headers, body)

    def _forget(self, request: Request) -> None:
        if self._answers is not None:
            self._answers.remove(request)

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
            "queue": self._queue_length(),
        }
