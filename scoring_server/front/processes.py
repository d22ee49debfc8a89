"""The processes that the front forks: linked by a channel, reaped, their ends reported."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from typing import Any, Callable, Dict, List

from ..worker import channel
from .connections import Connections
from .request import PendingRequest

logger = logging.getLogger(__name__)

_SOCKET_BUFFER = 1 << 20
# A process that somebody stopped (SIGSTOP) is given this long to be continued.
_STOPPED_SECONDS = 5.0


class LinkOwner:
    """Whom the processes behind its links belong to."""

    def take(self, link: Link, message: channel.Message) -> None:
        """Handle a message of a process."""
        raise NotImplementedError

    def finished(self, link: Link, request: PendingRequest) -> None:
        """A process has answered a request."""
        raise NotImplementedError

    def replace(self, link: Link, reason: str, *, kill: bool) -> None:
        """Have another process take its place; it ends when done, or is killed."""
        raise NotImplementedError

    def continued(self, _link: Link) -> None:
        """A process that was stopped runs again."""
        raise NotImplementedError

    def ended(self, link: Link, status: int) -> None:
        """A process has ended; its link has all that it wrote, and its `outstanding` requests.

        :param status: as `os.waitpid` gives it.
        """
        raise NotImplementedError


class Link(asyncio.Protocol):
    """A process as the front sees it. `outstanding` are its requests, in the order it gets them.

    :param requests: how many it can have in hand.
    """

    transport: Any = None

    def __init__(self, owner: LinkOwner, requests: int) -> None:
        self.owner = owner
        self.noted = channel.Begun(requests)
        self._decoder = channel.Decoder()
        self._early: List[bytes] = []
        self.pid = 0
        self.connection: Any = None
        self.outstanding: Dict[int, PendingRequest] = {}
        self.is_retiring = False
        self.is_stopped = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        early, self._early = self._early, []
        for data in early:
            transport.write(data)
        if self.is_retiring:
            self.retire()

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            self.owner.take(self, message)

    def eof_received(self) -> bool:
        # The end of the process, which SIGCHLD reports, settles what becomes of its requests.
        return True

    def send(self, request: PendingRequest) -> None:
        """Give it a request."""
        self.outstanding[request.number] = request
        request.worker = self
        request.dispatched = time.monotonic()
        head, match = request.head, request.match
        meta = (match.place, head.method, head.path, match.params, head.query, head.headers)
        for piece in channel.encode(channel.REQUEST, request.number, meta, request.body):
            self._write(piece)

    def cancel(self, request: PendingRequest) -> None:
        """Say that nobody waits for this streamed answer any more."""
        self._write(b"".join(channel.encode(channel.CANCEL, request.number)))

    def _write(self, data: bytes) -> None:
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def drain(self) -> None:
        """Take what it wrote before it ended."""
        while True:
            try:
                data = self.connection.recv(1 << 18, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            self.data_received(data)

    def retire(self) -> None:
        """Give it no more requests; it ends once it has answered those it has."""
        self.is_retiring = True
        if not self.outstanding and self.transport is not None:
            # The process reads the end of the channel and exits.
            self.transport.close()

    @property
    def has_hope(self) -> bool:
        """Whether somebody still waits for something that it may have begun."""
        return any(not request.status for request in self.begun())

    def begun(self) -> List[PendingRequest]:
        """Those of its requests that the process has begun to answer."""
        numbers = self.noted.numbers()
        return [request for number, request in self.outstanding.items() if number in numbers]

    def kill(self) -> None:
        """End it at once."""
        self.is_retiring = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class Processes:
    """Forks processes and reaps them.

    :param connections: what a new process lets go of.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loop = connections.loop
        self._links: Dict[int, Link] = {}

    def start(self) -> None:
        """Reap from now on. Call it within the running loop."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._children_changed)

    def fork(self, link: Link, run: Callable[[socket.socket, channel.Begun, int], None]) -> None:
        """Fork the process behind a new link.

        :param run: what it does, with its end of the channel, what it notes its requests in, and
            this process's id; it does not return.
        """
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        ours.setblocking(False)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._connections.let_go()
            ours.close()
            for other in self._links.values():
                os.close(other.connection.fileno())
            run(theirs, link.noted, parent)
        theirs.close()
        link.pid, link.connection = pid, ours
        self._links[pid] = link
        self._loop.create_task(self._connect(link))

    async def _connect(self, link: Link) -> None:
        await self._loop.create_unix_connection(lambda: link, sock=link.connection)

    def _children_changed(self) -> None:
        # Only our own: what the model started is not ours to reap.
        for link in list(self._links.values()):
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
                link.owner.continued(link)
            else:
                self._ended(link, status)

    def _end_if_stopped(self, link: Link) -> None:
        if link.is_stopped and link.pid in self._links:
            logger.warning("process %d was stopped; it is replaced", link.pid)
            link.owner.replace(link, "stopped", kill=True)

    def _ended(self, link: Link, status: int) -> None:
        link.drain()
        del self._links[link.pid]
        if link.transport is None:
            link.connection.close()
        else:
            link.transport.abort()
        link.owner.ended(link, status)


def describe_end(status: int) -> str:
    """What became of a process, from its wait status: "was killed by SIGKILL"."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return "was killed by " + signal.Signals(number).name
        except ValueError:
            return "was killed by signal {}".format(number)
    return "exited with code {}".format(os.WEXITSTATUS(status))
