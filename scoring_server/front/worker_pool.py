"""The worker processes: forked, watched, replaced.

The front asks `free()` for a worker to give a request to, and gets back, through its callbacks,
answers, and the requests of workers that ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional

from ..config import ServerConfig
from ..worker import channel
from ..worker.process import Wsgi, requests_at_a_time, run_worker
from .request import Request

logger = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0
# Below this mean service time a worker gets its next request ahead, in seconds: the way there
# and back would be a large part of it, and what is in front of it in the line is short.
_AHEAD_BELOW = 0.005
_SOCKET_BUFFER = 1 << 20
# A worker that somebody stopped (SIGSTOP) is given this long to be continued.
_STOPPED_SECONDS = 5.0


class WorkerLink(asyncio.Protocol):
    """A worker as the front sees it. `outstanding` are its requests, in the order it gets them."""

    transport: Any = None

    def __init__(
        self, pool: WorkerPool, pid: int, connection: socket.socket, begun: channel.Begun
    ) -> None:
        self._pool = pool
        self._begun = begun
        self._decoder = channel.Decoder()
        self._connection = connection
        self.pid = pid
        self.started = time.monotonic()
        self.outstanding: Dict[int, Request] = {}
        self.is_loaded = False
        self.is_retiring = False
        self.is_stopped = False
        self.answered = 0
        self.last = pool.requests_of_a_worker()
        self.failure: Optional[Any] = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.is_retiring:
            self.retire()

    def data_received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._pool.take(self, frame)

    def eof_received(self) -> bool:
        # The end of the process, which SIGCHLD reports, settles what becomes of its requests.
        return True

    def send(self, request: Request) -> None:
        """Give it a request."""
        self.outstanding[request.number] = request
        request.worker = self
        request.dispatched = time.monotonic()
        head = request.head
        meta = (
            head.method, head.path, head.query, head.version, head.headers,
            request.connection.peer,
        )  # fmt: skip
        for piece in channel.encode(channel.REQUEST, request.number, meta, request.body):
            self.transport.write(piece)

    def cancel(self, request: Request) -> None:
        """Say that nobody waits for this streamed answer any more."""
        self.transport.write(b"".join(channel.encode(channel.CANCEL, request.number)))

    def drain(self) -> None:
        """Take what it wrote before it ended."""
        while True:
            try:
                data = self._connection.recv(1 << 18, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            self.data_received(data)

    def retire(self) -> None:
        """Give it no more requests; it ends once it has answered those it has."""
        self.is_retiring = True
        if not self.outstanding and self.transport is not None:
            # The worker reads the end of the channel and exits.
            self.transport.close()

    @property
    def has_hope(self) -> bool:
        """Whether somebody still waits for something that it may have begun."""
        return any(not request.status for request in self.begun())

    def begun(self) -> List[Request]:
        """Those of its requests that the model's code has seen something of."""
        numbers = self._begun.numbers()
        return [request for number, request in self.outstanding.items() if number in numbers]

    def kill(self) -> None:
        """End it at once."""
        self.is_retiring = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class WorkerPool:
    """Keeps `config.server.workers` workers.

    :param load: gives a worker its application.
    :param on_frame: called with (link, frame) for each frame of an answer.
    :param on_lost: called with (requests, reason) that a worker had begun when it ended.
    :param on_returned: called with the requests that it had not begun.
    :param on_change: called when a worker has become free, loaded, or has ended.
    :param in_child: called first in a new worker, to let go of the front's descriptors.
    """

    def __init__(
        self,
        config: ServerConfig,
        load: Callable[[], Wsgi],
        *,
        on_frame: Callable[[WorkerLink, channel.Frame], None],
        on_lost: Callable[[List[Request], str], None],
        on_returned: Callable[[List[Request]], None],
        on_change: Callable[[], None],
        on_crash: Callable[[str, bool], None],
        in_child: Callable[[], None],
    ) -> None:
        self.settings = config.server
        self._config = config
        self._load = load
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_returned = on_returned
        self._on_change = on_change
        self._on_crash = on_crash
        self._in_child = in_child
        self._loop = asyncio.get_running_loop()
        self.links: Dict[int, WorkerLink] = {}
        self.capacity = requests_at_a_time(self.settings)
        self.service_seconds = _AHEAD_BELOW  # a moving mean
        self.replaced: Dict[str, int] = {}
        self.load_seconds = 0.0
        self.failure: Optional[Any] = None
        self.is_closing = False
        self._sockets: Dict[int, socket.socket] = {}
        self._early_crashes: Deque[float] = deque(maxlen=10)

    def start(self) -> None:
        """Fork the workers. Call it within the running loop."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._children_changed)
        for _ in range(self.settings.workers):
            self._fork()

    def requests_of_a_worker(self) -> Optional[int]:
        """After how many answers a new worker is to be replaced; None for never."""
        if not self.settings.max_requests:
            return None
        jitter = self.settings.max_requests_jitter
        return self.settings.max_requests + random.randint(0, jitter)

    @property
    def loaded(self) -> List[WorkerLink]:
        """The workers that can be given requests."""
        return [
            link
            for link in self.links.values()
            if link.is_loaded and not link.is_retiring and not link.is_stopped
        ]

    def free(self) -> Optional[WorkerLink]:
        """The worker to give the next request to, or None while all have enough."""
        best = None
        fewest = self.capacity + (1 if self.service_seconds < _AHEAD_BELOW else 0)
        for link in self.links.values():
            if link.is_loaded and not link.is_retiring and not link.is_stopped:
                outstanding = len(link.outstanding)
                if outstanding < fewest:
                    best, fewest = link, outstanding
                    if not outstanding:
                        break
        return best

    def take(self, link: WorkerLink, frame: channel.Frame) -> None:
        """Handle a frame from a worker."""
        if frame.kind == channel.LOADED:
            link.is_loaded = True
            if not self.settings.preload:
                self.load_seconds = frame.meta[0]
            self._on_change()
        elif frame.kind == channel.FAILED:
            self.failure = link.failure = frame.meta
        else:
            self._on_frame(link, frame)

    def finished(self, link: WorkerLink, request: Request) -> None:
        """A worker has answered a request."""
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

    def replace(self, link: WorkerLink, reason: str, *, kill: bool = False) -> None:
        """Have another worker take its place at once; it ends when done, or is killed."""
        if not link.is_retiring:
            self._count(reason)
            link.is_retiring = True
            if not self.is_closing:
                self._fork()
        if kill:
            link.kill()
        else:
            link.retire()

    def close(self) -> None:
        """Let all workers end once they have answered; no new ones."""
        self.is_closing = True
        for link in list(self.links.values()):
            link.retire()

    # --- processes -----------------------------------------------------------------------------

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        ours.setblocking(False)
        begun = channel.Begun(self.capacity)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._in_child()
            ours.close()
            for other in self._sockets.values():
                os.close(other.fileno())
            run_worker(theirs, begun, self._load, self._config, parent)
        theirs.close()
        link = WorkerLink(self, pid, ours, begun)
        self.links[pid] = link
        self._sockets[pid] = ours
        self._loop.create_task(self._connect(link, ours))

    async def _connect(self, link: WorkerLink, connection: socket.socket) -> None:
        await self._loop.create_unix_connection(lambda: link, sock=connection)

    def _children_changed(self) -> None:
        # Only our own: what the model started is not ours to reap.
        for link in list(self.links.values()):
            pid, status = os.waitpid(
                link.pid, os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0)
            )
            if not pid:
                continue
            if os.WIFSTOPPED(status):
                link.is_stopped = True
                self._loop.call_later(_STOPPED_SECONDS, self._end_if_stopped, link)
            elif os.WIFCONTINUED(status):
                link.is_stopped = False
                self._on_change()
            else:
                self._ended(link, status)

    def _end_if_stopped(self, link: WorkerLink) -> None:
        if link.is_stopped and link.pid in self.links:
            logger.warning("worker %d was stopped; it is replaced", link.pid)
            self.replace(link, "stopped", kill=True)

    def _ended(self, link: WorkerLink, status: int) -> None:
        link.drain()
        del self.links[link.pid]
        connection = self._sockets.pop(link.pid)
        if link.transport is None:
            connection.close()
        else:
            link.transport.abort()
        by_itself = not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0)
        reason = _describe(status)
        begun = link.begun()
        returned = [request for request in link.outstanding.values() if request not in begun]
        link.outstanding.clear()
        self._on_lost(begun, reason)
        self._on_returned(returned)
        if not link.is_retiring and not self.is_closing:
            self._replace_ended(link, reason, by_itself)
        self._on_change()

    def _replace_ended(self, link: WorkerLink, reason: str, by_itself: bool) -> None:
        if not by_itself:
            self._count("exited")
            self._fork()
            return
        self._count("crashed")
        # One that has answered is replaced at once; one that never did may be the rule.
        early = link.answered == 0
        logger.warning("worker %d %s; it is replaced", link.pid, reason)
        self._on_crash(reason, early)
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
        self._loop.call_later(delay, self._fork_planned)

    def _fork_planned(self) -> None:
        if not self.is_closing:
            self._fork()

    def _count(self, reason: str) -> None:
        self.replaced[reason] = self.replaced.get(reason, 0) + 1


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return "was killed by " + signal.Signals(number).name
        except ValueError:
            return "was killed by signal {}".format(number)
    return "exited with code {}".format(os.WEXITSTATUS(status))
