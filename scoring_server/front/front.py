"""The front: takes connections, answers what needs no model, queues the rest for the workers.

It never runs the model's code, so it answers in milliseconds whatever the model does: `/ping`,
404, 503 when the queue is full, 504 when time is up, 500 for requests inside a worker that died.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Optional, Sequence

from .. import events
from ..access_token import AccessToken
from ..errors import no_token, too_large
from ..route_table import Match
from ..routes import FRONT, Answer, Request, RouteGroup, Vitals
from ..service import Service
from ..status import StatusChannel
from .accepting import Acceptor
from .connection import Connection
from .connections import Connections
from .dispatcher import Dispatcher, is_for_pages
from .http1 import Head, HttpError
from .processes import Processes
from .request import Client, PendingRequest, RequestHandler
from .survival import survive

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

# At a stop, a client that may be sending its next request gets this long; in a reload, where
# nobody waits for the end, longer.
STOP_LINGER_SECONDS = 0.5
DRAIN_LINGER_SECONDS = 10.0
# Workers whose model runs in a process of its own get this long to end that.
_ENDING_SECONDS = 2.0
# How often the launcher hears how many requests have been answered, if that has changed.
_SUMMARY_SECONDS = 1.0
_LISTEN_BACKLOG = 2048


class Front(RequestHandler, Vitals):
    """Serves on `listener` until told to stop.

    :param status: hears when it is ready, has failed, drains, and how it goes.
    :param token: what clients must send.
    :param tls: for https, or None.
    """

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        status: StatusChannel,
        token: AccessToken,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._service = service
        self._settings = service.config.server
        self._status = status
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(survive)
        self._listens = False
        self._stopped = asyncio.Event()
        self._connections = Connections(listener, self._settings)
        self._acceptor = Acceptor(
            self._connections, tls, lambda: Connection(self._connections, self)
        )
        self._scratch = None
        if service.config.model.traits.has_process:
            from ..worker.scratch import Scratch

            self._scratch = Scratch(self._settings.scratch, os.getpid())
        self._processes = Processes(self._connections, self._scratch)
        self._dispatcher = Dispatcher(service, self._processes, status)
        self._tracer = self._dispatcher.tracer
        self._pool = self._dispatcher.pool

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> int:
        """Start the workers, serve, and return the exit code once stopped."""
        try:
            return await self._run()
        finally:
            if self._scratch is not None:
                await self._processes.all_ended(_ENDING_SECONDS)
                self._scratch.remove()

    async def _run(self) -> int:
        self._processes.start()
        self._pool.start()
        await self._pool.is_settled.wait()
        if not self._connections.is_draining:
            if self._pool.failure is not None and not self._pool.loaded:
                self._status.send(events.Failed(*self._pool.failure))
                return 1
            self._listen()
            await self._stopped.wait()
        self._dispatcher.access_log.flush()
        if self._tracer is not None:
            self._tracer.flush()
        return 0

    def _listen(self) -> None:
        # Inherited by what it accepts: connections that linger then leave the port to the next.
        self._connections.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._acceptor.start(_LISTEN_BACKLOG)
        self._listens = True
        if self._service.load_seconds is None:
            self._status.send(events.Loaded(self._pool.load_seconds))
        self._status.send(events.Ready())
        self._loop.call_later(_SUMMARY_SECONDS, self._send_summary, self._summary())

    def stop(self, linger: float) -> None:
        """Take no new connections, finish what is there, let the workers end."""
        if self._connections.is_draining:
            return
        self._connections.is_draining = True
        if not self._listens:
            self._end()
        else:
            self._loop.create_task(self._drain(linger))

    async def _drain(self, linger: float) -> None:
        listener = self._connections.listener
        try:
            if linger == STOP_LINGER_SECONDS:
                # What the kernel has let in gets its answer; from then on it refuses, so that
                # nobody waits for a server that does not come. In a reload the next takes them.
                await self._iterations(2)
                self._acceptor.stop()
                # A unix socket would stay so for the next server; its path is the launcher's.
                if listener.family != socket.AF_UNIX:
                    listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.stop()
            # asyncio needs this long to make a transport of each connection that was accepted.
            await self._iterations(4)
            listener.close()
            self._status.send(events.Draining())
            await self._connections.drain(linger, self._settings.graceful_timeout)
        finally:
            self._end()

    @staticmethod
    async def _iterations(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    def _end(self) -> None:
        self._pool.close()
        self._dispatcher.pages.close()
        self._stopped.set()

    # --- requests ------------------------------------------------------------------------------

    def admit(self, head: Head) -> Match:
        match = self._service.table.find(head.method, head.path)
        if (
            not match.is_open
            and not self._token.fits(head.headers.get("authorization", ""))
            and self._preflight(head, match) is None
        ):
            raise HttpError(401, no_token().message)
        if head.length is not None and head.length > self._settings.max_body:
            raise HttpError(413, too_large(self._settings.max_body).message)
        if head.headers.get("expect") and self._dispatcher.is_full:
            raise HttpError(503, "The queue is full; try again later.")
        return match

    def _preflight(self, head: Head, match: Match) -> Optional[Answer]:
        cross_origin = self._connections.cross_origin
        if cross_origin is None:
            return None
        answer: Optional[Answer] = cross_origin.preflight(match, head.method, head.headers)
        return answer

    def handle(self, request: PendingRequest) -> None:
        head, match = request.head, request.match
        route = match.route
        problem = match.group.problem(match.params) if match.params else None
        if self._tracer is not None:
            self._trace(request, self._tracer)
        if route is None:
            answer = self._preflight(head, match) or match.refusal(head.method, head.path)
            request.client.answer(request, answer)
        elif problem is not None:
            request.client.answer(request, match.group.error(problem))
        elif route.answered_by == FRONT:
            assert route.handle is not None
            value = Request(
                match.group, route, head.method, head.path, match.params, head.query,
                head.headers, request.body,
            )  # fmt: skip
            request.client.answer(request, route.handle(value, self))
        elif is_for_pages(match):
            self._dispatcher.put_page(request)
        else:
            self._dispatcher.put(request)

    @staticmethod
    def _trace(request: PendingRequest, tracer: Tracer) -> None:
        """Begin its span; probes have one only where their sender traces them."""
        route, headers = request.match.route, request.head.headers
        if route is None or route.answered_by != FRONT or "traceparent" in headers:
            request.trace = tracer.begin(headers)

    def refuse(self, client: Client, head: Optional[Head], error: HttpError) -> None:
        # No error of a head, or of what it lacks, says that its sender has the token.
        is_known = head is not None and error.status != 401
        # What has no head has no route, whichever path the log gives it.
        asked = ("", "") if head is None else (head.method, head.path)
        match = self._service.table.find(*asked)
        head = head or Head("GET", "/", "1.1", {})
        head.keep_alive = False
        request = PendingRequest(client, head, match, b"", time.monotonic())
        request.is_known = is_known
        # Strangers fill nobody's collector.
        if is_known and self._tracer is not None:
            self._trace(request, self._tracer)
        self._dispatcher.answer_error(request, error.status, error.message)

    def client_gone(self, request: PendingRequest) -> None:
        self._dispatcher.client_gone(request)

    def done(self, request: PendingRequest) -> None:
        self._dispatcher.done(request)

    # --- how it goes ---------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return bool(self._pool.loaded)

    @property
    def groups(self) -> Sequence[RouteGroup]:
        return self._service.table.groups

    def metrics(self) -> bytes:
        figures = self._dispatcher.figures()
        processes = [("server", os.getpid()), *figures.processes]
        return self._dispatcher.metrics.render(
            figures._replace(
                processes=processes,
                held=self._connections.held,
                held_limit=self._connections.most_held,
            )
        )

    def _summary(self) -> events.Summary:
        return events.Summary(
            requests=self._dispatcher.metrics.total,
            workers=sorted(link.pid for link in self._pool.loaded),
            queue=self._dispatcher.queue_length(),
        )

    def _send_summary(self, sent: events.Summary) -> None:
        now = self._summary()
        self._loop.call_later(_SUMMARY_SECONDS, self._send_summary, now)
        if now != sent:
            self._status.send_if_read(now)
