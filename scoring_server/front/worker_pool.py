"""The worker processes: forked, watched, replaced.

The dispatcher asks `free()` for a worker to give a request to, and is told of answers and of what
becomes of the requests of workers that ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections import deque
from typing import Any, Deque, Dict, List, NoReturn, Optional, Set

from ..service import EXIT_MODEL_ENDED, EXIT_OUT_OF_MEMORY, Service
from ..worker import channel
from ..worker.process import ProcessEnd, run_worker
from .processes import Link, LinkOwner, Processes
from .request import PendingRequest

logger = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0
# Below this mean service time a worker gets its next request ahead, in seconds: the way there
# and back would be a large part of it, and what is in front of it in the line is short.
_AHEAD_BELOW = 0.005
# A worker that is alone gets so many ahead, as far as they wait this many seconds there: nobody
# else could answer them meanwhile, and each that finds it asleep costs the front its waking.
_MOST_AHEAD, _AHEAD_SECONDS = 8, 0.001


class WorkerEvents:
    """What processes with requests report."""

    def answered(self, link: Link, message: channel.Message) -> None:
        """A message of an answer has come."""
        raise NotImplementedError

    def lost(self, requests: List[PendingRequest], reason: str) -> None:
        """A process ended with these, which it had begun."""
        raise NotImplementedError

    def returned(self, requests: List[PendingRequest]) -> None:
        """A process ended before it began these."""
        raise NotImplementedError

    def changed(self) -> None:
        """A worker has become free or loaded, or has ended."""
        raise NotImplementedError

    def crashed(self, reason: str, early: bool) -> None:
        """A worker died by itself; `early`: it had answered nothing."""
        raise NotImplementedError


class WorkerLink(Link):
    """A worker as the front sees it.

    :param last: after how many answers it is to be replaced; None for never.
    """

    def __init__(self, owner: LinkOwner, requests: int, last: Optional[int]) -> None:
        super().__init__(owner, requests)
        self.is_loaded = False
        self.answered = 0
        self.last = last

    @property
    def can_take(self) -> bool:
        """Whether it can be given requests."""
        return self.is_loaded and not self.is_retiring and not self.is_stopped


class WorkerPool(LinkOwner):
    """Keeps `config.server.workers` workers.

    `is_settled` is set once a worker has the model, or none can load it (then `failure` says why:
    message, hint, traceback), or the pool is closed.
    """

    def __init__(self, service: Service, processes: Processes, events: WorkerEvents) -> None:
        self._service = service
        self._settings = service.config.server
        self._processes = processes
        self._events = events
        self.links: Dict[int, WorkerLink] = {}
        self._planned: Set[WorkerLink] = set()
        self.service_seconds = _AHEAD_BELOW  # a moving mean
        self.replaced: Dict[str, int] = {}
        self.load_seconds = service.load_seconds or 0.0
        self.failure: Optional[Any] = None
        self.is_settled = asyncio.Event()
        self.is_closing = False
        self._early_crashes: Deque[float] = deque(maxlen=10)

    def start(self) -> None:
        """Fork the workers."""
        for _ in range(self._settings.workers):
            self._fork()

    def _requests_of_a_worker(self) -> Optional[int]:
        if not self._settings.max_requests:
            return None
        return self._settings.max_requests + random.randint(0, self._settings.max_requests_jitter)

    @property
    def loaded(self) -> List[WorkerLink]:
        """The workers that can be given requests."""
        return [link for link in self.links.values() if link.can_take]

    @property
    def capacity(self) -> int:
        """How many requests a worker may have in hand, those aside that it gets ahead."""
        batching = self._service.batching
        return max(1, self._settings.threads) if batching is None else batching.most_together

    def free(self) -> Optional[WorkerLink]:
        """The worker to give the next request to, or None while all have enough."""
        best = None
        fewest = self.capacity + self._ahead()
        for link in self.links.values():
            outstanding = len(link.outstanding)
            if outstanding < fewest and link.can_take:
                best, fewest = link, outstanding
                if not outstanding:
                    break
        return best

    def _ahead(self) -> int:
        """How many requests a worker is given beyond those that it can have in hand."""
        if self.service_seconds >= _AHEAD_BELOW:
            return 0
        if len(self.links) > 1:
            return 1
        return min(_MOST_AHEAD, max(1, int(_AHEAD_SECONDS / self.service_seconds)))

    def take(self, link: Link, message: channel.Message) -> None:
        assert isinstance(link, WorkerLink)
        if message.kind == channel.LOADED:
            link.is_loaded = True
            if self._service.load_seconds is None:
                self.load_seconds = message.meta[0]
            self.is_settled.set()
            self._events.changed()
        elif message.kind == channel.FAILED:
            self.failure = message.meta
            self.is_settled.set()
        else:
            self._events.answered(link, message)

    def finished(self, link: Link, request: PendingRequest) -> None:
        assert isinstance(link, WorkerLink)
        link.outstanding.pop(request.number, None)
        link.answered += 1
        if request.dispatched is not None and not link.outstanding:
            took = time.monotonic() - request.dispatched
            self.service_seconds += 0.1 * (took - self.service_seconds)
        elif request.dispatched is not None:
            # It waited behind another for part of this; the bound is enough.
            took = (time.monotonic() - request.dispatched) / (len(link.outstanding) + 1)
            self.service_seconds += 0.1 * (took - self.service_seconds)
        if link.last is not None and link.answered >= link.last and not link.is_retiring:
            self.replace(link, "max_requests")
        elif link.is_retiring:
            link.retire()

    def replace(self, link: Link, reason: str, *, kill: bool = False) -> None:
        was_retiring = link.is_retiring
        # First, so that the new one has room where processes are limited.
        if kill:
            link.kill()
        else:
            link.retire()
        if not was_retiring:
            self._count(reason)
            if not self.is_closing:
                self._fork()

    def close(self) -> None:
        """Let all workers end once they have answered; no new ones."""
        self.is_closing = True
        self.is_settled.set()
        for link in [*self.links.values(), *self._planned]:
            link.retire()

    # --- processes -----------------------------------------------------------------------------

    def _fork(self, wait: float = 0.0) -> None:
        """Plan a worker, in so many seconds."""
        batching = self._service.batching
        most = max(1, self._settings.threads) if batching is None else batching.most
        link = WorkerLink(self, most, self._requests_of_a_worker())
        self._planned.add(link)
        self._processes.fork(link, self._run, wait)

    def forked(self, link: Link) -> None:
        assert isinstance(link, WorkerLink)
        self._planned.discard(link)
        self.links[link.pid] = link

    def _run(self, end: ProcessEnd) -> NoReturn:
        run_worker(end, self._service)

    def continued(self, _link: Link) -> None:
        self._events.changed()

    def ended(self, link: Link, status: int) -> None:
        assert isinstance(link, WorkerLink)
        self._planned.discard(link)
        if self.links.pop(link.pid, None) is None:
            return
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        has_bound = self._settings.worker_memory is not None
        reason = describe_end(link, status, has_bound=has_bound)
        begun = link.begun()
        returned = [request for request in link.outstanding.values() if request not in begun]
        link.outstanding.clear()
        self._events.lost(begun, reason)
        self._events.returned(returned)
        if not link.is_retiring and not self.is_closing:
            self._replace_ended(link, reason, code)
        self._events.changed()

    def _replace_ended(self, link: WorkerLink, reason: str, code: Optional[int]) -> None:
        # What comes of one that did not load the model is no rule for those that did.
        if code == 0 or (code == EXIT_OUT_OF_MEMORY and link.is_loaded):
            self._count("memory" if code else "exited")
            if code:
                logger.warning("Worker %d %s; it is replaced.", link.pid, reason)
            self._fork()
            return
        self._count("crashed")
        # One that has answered is replaced at once; one that never did may be the rule.
        early = link.answered == 0
        logger.warning("Worker %d %s; it is replaced.", link.pid, reason)
        self._events.crashed(reason, early)
        if not early:
            self._fork()
            return
        now = time.monotonic()
        recent = [each for each in self._early_crashes if each > now - 60]
        self._early_crashes.append(now)
        if not recent and link.is_loaded:
            self._fork()
            return
        delay = min(_BACKOFF_FIRST * 2 ** max(len(recent) - 1, 0), _BACKOFF_LONGEST)
        self._fork(delay)

    def _count(self, reason: str) -> None:
        self.replaced[reason] = self.replaced.get(reason, 0) + 1


def describe_end(link: Link, status: int, *, has_bound: bool = False) -> str:
    """What became of a process, from its wait status: "was killed by SIGKILL".

    :param has_bound: whether its memory is bounded.
    """
    if link.fault:
        return link.fault
    if not link.pid:
        return "could not be started"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == EXIT_OUT_OF_MEMORY:
        return "took more memory than a worker may have (--worker-memory)"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == EXIT_MODEL_ENDED:
        return "lost the process that its model runs in"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        why = ""
        if has_bound and number in (signal.SIGABRT, signal.SIGSEGV):
            # As libraries end that do not expect to be refused memory.
            why = ", perhaps for want of memory (--worker-memory)"
        try:
            return "was killed by " + signal.Signals(number).name + why
        except ValueError:
            return "was killed by signal {}".format(number)
    return "exited with code {}".format(os.WEXITSTATUS(status))
