"""The pages' process: answers what needs neither the model nor the front.

It is forked at first use and after an end at the next use. It is no worker: it takes no place of
one, and no prediction waits for it.
"""

from __future__ import annotations

import logging
from typing import List, NoReturn, Optional, Tuple

from ..service import Service
from ..worker.channel import Message
from ..worker.process import ProcessEnd, run_pages
from .processes import Link, LinkOwner, Processes
from .request import PendingRequest
from .worker_pool import WorkerEvents, describe_end

logger = logging.getLogger(__name__)


class Pages(LinkOwner):
    """Has requests answered by the pages' process.

    :param events: is told of answers, and of the requests that ended with the process.
    """

    def __init__(self, service: Service, processes: Processes, events: WorkerEvents) -> None:
        self._service = service
        self._processes = processes
        self._events = events
        self.link: Optional[Link] = None

    @property
    def is_full(self) -> bool:
        """Whether the next request has to be refused."""
        most = self._service.config.server.backlog
        return self.link is not None and len(self.link.outstanding) >= most

    def put(self, request: PendingRequest) -> None:
        """Give the process a request; start it where there is none."""
        if self.link is not None:
            self.link.send(request)
            return
        link = self.link = Link(self, 1)
        link.send(request)
        self._processes.fork(link, self._run)

    def _run(self, end: ProcessEnd) -> NoReturn:
        run_pages(end, self._service)

    def take(self, link: Link, message: Message) -> None:
        self._events.answered(link, message)

    def finished(self, link: Link, request: PendingRequest) -> None:
        link.outstanding.pop(request.number, None)
        if link.is_retiring:
            link.retire()

    def replace(self, link: Link, reason: str, *, kill: bool) -> None:  # noqa: ARG002
        logger.warning("The pages' process %d is ended: %s.", link.pid, reason)
        if self.link is link:
            self.link = None
        link.kill()

    def continued(self, _link: Link) -> None:
        pass

    def ended(self, link: Link, status: int) -> None:
        if self.link is link:
            self.link = None
        requests = list(link.outstanding.values())
        link.outstanding.clear()
        self._events.lost(requests, describe_end(link, status))

    def processes(self) -> List[Tuple[str, int]]:
        """Its kind and process id, where it runs."""
        return [("pages", self.link.pid)] if self.link is not None and self.link.pid else []

    def close(self) -> None:
        """Let it end once it has answered what it has."""
        if self.link is not None:
            self.link.retire()
