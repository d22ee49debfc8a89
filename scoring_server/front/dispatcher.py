"""The queue: gives complete requests to processes, and their answers back to the clients."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Deque, List, Optional

from .. import events
from ..errors import DEADLINE_EXCEEDED, INTERNAL_ERROR, ScoringError, code_of_status
from ..route_table import Match
from ..routes import PAGES, WANTS_TIMING, Answer, server_timing
from ..service import Service
from ..status import StatusChannel
from ..worker import channel
from .access_log import AccessLog
from .deadlines import Deadlines
from .metrics import Figures, Metrics
from .pages import Pages
from .processes import Link, Processes
from .request import PendingRequest
from .survival import give_up
from .worker_pool import WorkerEvents, WorkerPool

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

logger = logging.getLogger(__name__)

# A page may take this long, the start of the process that answers it included.
_PAGE_SECONDS = 10.0
_LAST = frozenset((channel.ANSWER, channel.END))


class Dispatcher(WorkerEvents):
    """Queues predictions for the workers, watches the time of requests, answers for processes.

    :param status: hears of workers that crash.
    """

    def __init__(self, service: Service, processes: Processes, status: StatusChannel) -> None:
        settings = service.config.server
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._batching = service.batching
        self._status = status
        self._lane = service.lane
        self._queue: Deque[PendingRequest] = deque()
        self._gone_in_queue = 0
        self._deadlines = (
            Deadlines(loop, settings.timeout, self._timed_out) if settings.timeout else None
        )
        self._page_deadlines = Deadlines(loop, _PAGE_SECONDS, self._timed_out)
        self.metrics = Metrics(settings)
        self.access_log = AccessLog(loop, settings)
        self.tracer: Optional[Tracer] = None
        if settings.traces is not None:
            from ..tracing.tracer import Tracer  # here: most servers have no traces

            self.tracer = Tracer(loop, settings.traces, service.config)
        self.pool = WorkerPool(service, processes, self)
        self.pages = Pages(service, processes, self)

    # --- requests ------------------------------------------------------------------------------

    def put(self, request: PendingRequest) -> None:
        """Give a prediction to a worker, queue it, or refuse it with 503."""
        link = self.pool.free() if not self._queue else None
        if link is not None:
            link.send(request)
        elif self.is_full:
            self.answer_error(request, 503, "The queue is full; try again later.")
            return
        else:
            self._queue.append(request)
        if self._deadlines is not None:
            self._deadlines.add(request)

    def put_page(self, request: PendingRequest) -> None:
        """Give a request to the pages' process, or refuse it with 503."""
        if self.pages.is_full:
            self.answer_error(request, 503, "Too many requests for pages wait; try again later.")
            return
        self.pages.put(request)
        self._page_deadlines.add(request)

    def client_gone(self, request: PendingRequest) -> None:
        """Nobody waits for this request's answer any more."""
        request.status = 499  # as nginx logs it
        if request.worker is None:
            self._forget(request)
            # Left in the queue, where finding it would cost more than skipping it.
            self._gone_in_queue += 1
        elif request.number in request.worker.outstanding:
            # Its time goes on: the process may never come back from it.
            request.worker.cancel(request)
        self.done(request)

    @property
    def is_full(self) -> bool:
        """Whether the next request that has to wait is refused."""
        return self.queue_length() >= self._settings.backlog

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

    def figures(self) -> Figures:
        """How things stand."""
        links = self.pool.links
        return Figures(
            queued=self.queue_length(),
            in_workers=sum(len(link.outstanding) for link in links.values()),
            workers=len(self.pool.loaded),
            load_seconds=self.pool.load_seconds,
            processes=[("worker", pid) for pid in sorted(links)] + self.pages.processes(),
            replaced=self.pool.replaced,
            untraced=None if self.tracer is None else self.tracer.dropped,
            lane=self._lane(),
            batching=None if self._batching is None else self._batching.state,
        )

    # --- what processes report -----------------------------------------------------------------

    def answered(self, link: Link, message: channel.Message) -> None:
        request = link.outstanding.get(message.number)
        if request is None:
            return
        is_last = message.kind in _LAST
        waits = not request.status
        if is_last:
            self._forget(request)
            link.owner.finished(link, request)
        if waits:
            try:
                self._pass_on(request, message)
            except Exception:
                # The process has done its part.
                logger.exception("An answer could not be written.")
                give_up(request)
        if is_last and self._queue:
            self.dispatch()
        if link.is_retiring and link.outstanding and not link.has_hope:
            link.kill()

    def _pass_on(self, request: PendingRequest, message: channel.Message) -> None:
        """Write a message of a process to the client that waits for it."""
        client = request.client
        if message.kind in (channel.ANSWER, channel.BEGIN):
            status, headers, request.stages = message.meta
            if WANTS_TIMING in request.head.headers:
                waited = (request.dispatched or request.arrived) - request.arrived
                headers = [*headers, server_timing(request.stages, waited)]
        if message.kind == channel.ANSWER:
            client.answer(request, Answer(status, headers, message.body))
        elif message.kind == channel.BEGIN:
            request.streamed = time.monotonic()
            client.begin(request, status, headers)
        elif message.kind == channel.PIECE:
            if self._deadlines is not None:
                self._deadlines.add(request)
            client.piece(request, message.body)
        elif message.kind == channel.END:
            request.status = 200 if message.meta is None else 500
            client.end(request, complete=message.meta is None)
            if message.meta is not None:
                self.done(request)

    def lost(self, requests: List[PendingRequest], reason: str) -> None:
        for request in requests:
            self._forget(request)
            if request.status:
                continue
            message = "The process that answered this request {}.".format(reason)
            self.answer_error(request, 500, message, INTERNAL_ERROR)

    def returned(self, requests: List[PendingRequest]) -> None:
        for request in reversed(requests):
            request.worker = request.dispatched = None
            if request.status:
                self._forget(request)
            else:
                self._queue.appendleft(request)
        self.dispatch()

    def changed(self) -> None:
        self.dispatch()

    def crashed(self, reason: str, early: bool) -> None:
        self._status.send(events.WorkerCrashed(reason, early))

    # --- time ----------------------------------------------------------------------------------

    def _timed_out(self, request: PendingRequest) -> None:
        link = request.worker
        is_page = is_for_pages(request.match)
        limit = "{:g} s".format(_PAGE_SECONDS if is_page else self._settings.timeout or 0)
        if link is None:
            message = "The model was busy with other requests for {}.".format(limit)
            self._gone_in_queue += 1
        else:
            message = "The {} took longer than {}.".format(
                "page" if is_page else "prediction", limit
            )
        if not request.status:
            self._give_up(request, message)
        # One that has begun none of them reads its channel no more.
        if link is not None and (is_page or request in link.begun() or not link.begun()):
            logger.warning("Process %d is replaced: %s", link.pid, message)
            link.owner.replace(link, "timeout", kill=is_page or not link.has_hope)
        self.dispatch()

    def _give_up(self, request: PendingRequest, message: str) -> None:
        """Tell the client that its time is up."""
        if request.client.has_begun_answer:
            request.status = 504
            request.client.end(request, complete=False)
            self.done(request)
        else:
            self.answer_error(request, 504, message, DEADLINE_EXCEEDED)

    def _forget(self, request: PendingRequest) -> None:
        """Stop watching its time."""
        if self._deadlines is not None:
            self._deadlines.remove(request)
        self._page_deadlines.remove(request)

    # --- answers -------------------------------------------------------------------------------

    def answer_error(
        self, request: PendingRequest, status: int, message: str, code: str = ""
    ) -> None:
        """Answer with an error of the server's own, in the form of the route's protocol."""
        error = ScoringError(message, code or code_of_status(status), status)
        answer = request.match.group.error(error)
        if status == 503:
            answer.headers.append(("Retry-After", str(self._retry_after())))
        elif status == 401:
            answer.headers.append(("WWW-Authenticate", "Bearer"))
        request.client.answer(request, answer)

    def _retry_after(self) -> int:
        """Seconds until the queue may be worked off."""
        workers = max(1, len(self.pool.loaded)) * self.pool.capacity
        return min(60, max(1, math.ceil(len(self._queue) * self.pool.service_seconds / workers)))

    def done(self, request: PendingRequest) -> None:
        """The answer has been written, or nobody waits for it any more."""
        now = time.monotonic()
        self.metrics.observe(request.match, request.status, now - request.arrived, request.stages)
        if request.dispatched is not None:
            self.metrics.observe_wait(request.dispatched - request.arrived)
        self.access_log.note(request, now)
        if request.trace is not None:
            assert self.tracer is not None
            self.tracer.finish(request, now)


def is_for_pages(match: Match) -> bool:
    """Whether the pages' process answers."""
    return match.route is not None and match.route.answered_by == PAGES
