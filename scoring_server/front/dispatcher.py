"""The queue: gives complete requests to workers, and their answers back to the connections."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import deque
from typing import Callable, Deque, List, Tuple

from ..config import ServerConfig
from ..errors import DEADLINE_EXCEEDED, INTERNAL_ERROR
from ..worker import channel
from ..worker.process import Wsgi
from .connection import WAITING, status_line
from .deadlines import Deadlines
from .metrics import Metrics
from .request import Request
from .worker_pool import WorkerLink, WorkerPool

logger = logging.getLogger(__name__)

JSON_HEADERS = [("Content-Type", "application/json")]


class Dispatcher:
    """Queues requests for the workers of `pool`, watches their time, answers for the workers.

    :param load: gives a worker its application.
    :param metrics: counts the stages that workers report.
    :param on_change: called when a worker has come or gone.
    :param on_crash: see `WorkerPool`.
    :param in_child: see `WorkerPool`.
    :param on_done: called with a request that ended otherwise than by a whole answer.
    """

    def __init__(
        self,
        config: ServerConfig,
        load: Callable[[], Wsgi],
        metrics: Metrics,
        *,
        on_change: Callable[[], None],
        on_crash: Callable[[str, bool], None],
        in_child: Callable[[], None],
        on_done: Callable[[Request], None],
    ) -> None:
        self._settings = config.server
        self._metrics = metrics
        self._on_change = on_change
        self._on_done = on_done
        self._queue: Deque[Request] = deque()
        self._gone_in_queue = 0
        self._deadlines = (
            Deadlines(asyncio.get_running_loop(), self._settings.timeout, self._timed_out)
            if self._settings.timeout
            else None
        )
        self.pool = WorkerPool(
            config,
            load,
            on_frame=self._on_frame,
            on_lost=self._on_lost,
            on_returned=self._on_returned,
            on_change=self._workers_changed,
            on_crash=on_crash,
            in_child=in_child,
        )

    def put(self, request: Request) -> None:
        """Give a request to a worker, queue it, or refuse it with 503."""
        link = self.pool.free() if not self._queue else None
        if link is not None:
            link.send(request)
        elif self.is_full:
            self.answer_error(request, 503, "the queue is full")
            return
        else:
            self._queue.append(request)
        if self._deadlines is not None:
            self._deadlines.add(request)

    def client_gone(self, request: Request) -> None:
        """Nobody waits for this request's answer any more."""
        request.status = 499  # as nginx logs it
        self.forget(request)
        if request.worker is None:
            # Left in the queue, where finding it would cost more than skipping it.
            self._gone_in_queue += 1
        elif request.number in request.worker.outstanding:
            request.worker.cancel(request)
        self._on_done(request)

    @property
    def is_full(self) -> bool:
        """Whether the next request that has to wait is refused."""
        return self.queue_length() >= self._settings.backlog

    def _workers_changed(self) -> None:
        self._on_change()
        if self.pool.loaded:
            self.dispatch()

    def dispatch(self) -> None:
        """Give what waits to the workers that are free."""
        while self._queue:
            if self._queue[0].status:
                self._queue.popleft()
                self._gone_in_queue -= 1
                continue
            link = self.pool.free()
            if link is None:
                return
            link.send(self._queue.popleft())

    def queue_length(self) -> int:
        """How many requests wait."""
        return len(self._queue) - self._gone_in_queue

    def in_workers(self) -> int:
        """How many requests the workers have."""
        return sum(len(link.outstanding) for link in self.pool.links.values())

    def _on_frame(self, link: WorkerLink, frame: channel.Frame) -> None:
        request = link.outstanding.get(frame.number)
        if request is None:
            return
        waits = not request.status
        connection = request.connection
        if frame.kind in (channel.ANSWER, channel.BEGIN):
            status, headers, request.stages = frame.meta
            self._metrics.observe_stages(request.stages)
        if frame.kind == channel.ANSWER:
            self.pool.finished(link, request)
            if waits:
                self.forget(request)
                request.status = int(status[:3])
                connection.answer(request, status, headers, frame.body)
            self.dispatch()
        elif frame.kind == channel.BEGIN:
            if waits:
                connection.begin(request, status, headers)
        elif frame.kind == channel.PIECE:
            if waits:
                if self._deadlines is not None:
                    self._deadlines.add(request)
                connection.piece(request, frame.body)
        elif frame.kind == channel.END:
            self.pool.finished(link, request)
            if waits:
                self.forget(request)
                request.status = 200 if frame.meta is None else 500
                connection.end(request, complete=frame.meta is None)
            self.dispatch()
        if link.is_retiring and link.outstanding and not link.has_hope:
            link.kill()

    def _on_lost(self, requests: List[Request], reason: str) -> None:
        for request in requests:
            if request.status:
                continue
            self.forget(request)
            message = "the process that answered this request {}".format(reason)
            self.answer_error(request, 500, message, INTERNAL_ERROR)

    def _on_returned(self, requests: List[Request]) -> None:
        for request in reversed(requests):
            request.worker = request.dispatched = None
            if not request.status:
                self._queue.appendleft(request)
        self.dispatch()

    def _timed_out(self, request: Request) -> None:
        link = request.worker
        limit = "{:g} s".format(self._settings.timeout or 0)
        if link is None:
            message = "the model was busy with other requests for " + limit
            self._gone_in_queue += 1
        else:
            message = "the prediction took longer than " + limit
        if request.connection.state != WAITING:
            request.status = 504
            request.connection.end(request, complete=False)
            self._on_done(request)
        else:
            self.answer_error(request, 504, message, DEADLINE_EXCEEDED)
        if link is not None and request in link.begun():
            logger.warning("worker %d: %s; it is replaced", link.pid, message)
            self.pool.replace(link, "timeout", kill=not link.has_hope)
        self.dispatch()

    # --- answers -------------------------------------------------------------------------------

    def answer_error(
        self, request: Request, status: int, message: str, code: str = "BAD_REQUEST"
    ) -> None:
        """Answer with an error of the server's own."""
        headers = list(JSON_HEADERS)
        if status == 503:
            code = "TEMPORARILY_UNAVAILABLE"
            headers.append(("Retry-After", str(self._retry_after())))
        elif status == 401:
            code = "UNAUTHENTICATED"
            headers.append(("WWW-Authenticate", "Bearer"))
        body = json.dumps({"error_code": code, "message": message}).encode("ascii")
        self.reply(request, status, headers, body)

    def _retry_after(self) -> int:
        """Seconds until the queue may be worked off."""
        workers = max(1, len(self.pool.loaded)) * self.pool.capacity
        return min(60, max(1, math.ceil(len(self._queue) * self.pool.service_seconds / workers)))

    def reply(
        self, request: Request, status: int, headers: List[Tuple[str, str]], body: bytes
    ) -> None:
        """Answer."""
        request.status = status
        request.connection.answer(request, status_line(status), headers, body)

    def forget(self, request: Request) -> None:
        """Stop watching its time."""
        if self._deadlines is not None:
            self._deadlines.remove(request)
