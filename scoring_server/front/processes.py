"""The processes that the front forks: linked by a channel, reaped, their ends reported.

Whatever fails about one of them (its fork, its channel, what it writes there, our own handling of
it) ends that process at most, and another one takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, NoReturn, Optional

from ..worker import channel
from ..worker.orphans import Orphans
from ..worker.process import ProcessEnd
from .connections import Connections
from .request import PendingRequest

if TYPE_CHECKING:
    from ..worker.scratch import Scratch

logger = logging.getLogger(__name__)

_SOCKET_BUFFER = 1 << 20
# Bytes of a body that a transport is given at a time; what it cannot write at once, it copies.
_PIECE = 1 << 18
# As with clients' connections: what asyncio reads at a time is a new mapping of memory each time.
_READ_SIZE = 1 << 16
# Bytes of messages that are written at once.
_TOGETHER = 1 << 16
# A process that somebody stopped (SIGSTOP) is given this long to be continued.
_STOPPED_SECONDS = 5.0
# One that has ended its channel is given this long to end itself.
_ENDING_SECONDS = 1.0
# Seconds until a fork that failed is tried again, doubled each time.
_RETRY_FIRST, _RETRY_LONGEST = 0.1, 5.0


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

    def forked(self, link: Link) -> None:
        """The process behind a link runs, and has its `pid`."""

    def continued(self, _link: Link) -> None:
        """A process that was stopped runs again."""
        raise NotImplementedError

    def ended(self, link: Link, status: int) -> None:
        """A process has ended, or was given up before its fork succeeded (`pid` is 0).

        Its link has all that it wrote, and its `outstanding` requests.

        :param status: as `os.waitpid` gives it.
        """
        raise NotImplementedError


class Link(asyncio.Protocol):
    """A process as the front sees it. `outstanding` are its requests, in the order it gets them.

    `fault` says what it did wrong, where it was ended for that; `pid` is 0 until it is forked.

    :param requests: how many it can have in hand.
    """

    transport: Any = None

    def __init__(self, owner: LinkOwner, requests: int) -> None:
        self.owner = owner
        self.requests = requests
        self.noted: Optional[channel.Begun] = None
        self.mark = channel.new_mark()
        self.fault = ""
        self._decoder = channel.Decoder(self.mark)
        self._unsent: Deque[Any] = deque()
        self._takes_more = False
        # Whether what is written now is followed by more.
        self._is_gathering = False
        self.pid = 0
        self.connection: Any = None
        self.outstanding: Dict[int, PendingRequest] = {}
        self.is_retiring = False
        self.is_stopped = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.max_size = _READ_SIZE
        self.resume_writing()
        if self.is_retiring:
            self.retire()

    def data_received(self, data: bytes) -> None:
        if self.fault:
            return
        self._is_gathering = True
        try:
            for message in self._decoder.feed(data):
                self.owner.take(self, message)
        except channel.NotAMessage as error:
            logger.warning("Process %d wrote into its channel: %s.", self.pid, error)
            self.fail("wrote into the server's own channel", "channel")
        finally:
            self._is_gathering = False
            self._go_on()

    def eof_received(self) -> bool:
        # The end of the process, which SIGCHLD reports, settles what becomes of its requests.
        self._expect_end()
        return True

    def connection_lost(self, _error: Optional[BaseException]) -> None:
        self._expect_end()

    def _expect_end(self) -> None:
        """The channel has ended: so has the process, or it answers nothing any more."""
        asyncio.get_running_loop().call_later(_ENDING_SECONDS, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.pid and (self.outstanding or not self.is_retiring):
            self.fail("closed the server's own channel", "channel")

    def abort(self) -> None:
        """Give it up after an error of the server's own in handling it."""
        self.fail("could not be handled", "error")

    def fail(self, fault: str, reason: str) -> None:
        """Replace it at once for what it did."""
        if not self.fault:
            self.fault = fault
            self.owner.replace(self, reason, kill=True)

    def send(self, request: PendingRequest) -> None:
        """Give it a request."""
        self.outstanding[request.number] = request
        request.worker = self
        request.dispatched = time.monotonic()
        for piece in channel.frame(
            self.mark, channel.REQUEST, request.number, request.packed(), request.body
        ):
            self._write(piece)

    def cancel(self, request: PendingRequest) -> None:
        """Say that nobody waits for this streamed answer any more."""
        self._write(b"".join(channel.encode(self.mark, channel.CANCEL, request.number)))

    def _write(self, data: bytes) -> None:
        if self._takes_more and not self._is_gathering and len(data) <= _PIECE:
            self.transport.write(data)
        else:
            self._unsent.append(data)
            if not self._is_gathering:
                self._go_on()

    def _go_on(self) -> None:
        """Write what the transport takes: small messages together; a large body is not copied."""
        unsent = self._unsent
        while self._takes_more and unsent:
            data = unsent.popleft()
            if len(data) > _PIECE:
                data = memoryview(data)
                unsent.appendleft(data[_PIECE:])
            elif unsent:
                together, size = [data], len(data)
                while unsent and size + len(unsent[0]) <= _TOGETHER:
                    together.append(unsent.popleft())
                    size += len(together[-1])
                data = b"".join(together)
            self.transport.write(data[:_PIECE])

    def pause_writing(self) -> None:
        self._takes_more = False

    def resume_writing(self) -> None:
        self._takes_more = True
        self._go_on()

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
        if self.noted is None:
            return []
        numbers = self.noted.numbers()
        return [request for number, request in self.outstanding.items() if number in numbers]

    def kill(self) -> None:
        """End it at once."""
        self.is_retiring = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Processes:
    """Forks processes and reaps them.

    :param connections: what a new process lets go of.
    :param scratch: the processes' folders, if they have any.
    """

    def __init__(self, connections: Connections, scratch: Optional[Scratch] = None) -> None:
        self._connections = connections
        self._scratch = scratch
        self._loop = connections.loop
        self._links: Dict[int, Link] = {}
        self._orphans = Orphans()
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Reap from now on. Call it within the running loop."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._children_changed)
        self._orphans.adopt()

    async def all_ended(self, seconds: float) -> None:
        """Wait until none is left, but not longer than so many seconds."""
        deadline = self._loop.time() + seconds
        while self._links and self._loop.time() < deadline:
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), deadline - self._loop.time())

    def fork(self, link: Link, run: Callable[[ProcessEnd], NoReturn], wait: float = 0.0) -> None:
        """Fork the process behind a new link, and try that again as long as the system refuses.

        Who retires the link before that succeeds has it ended instead.

        :param run: what the process does with its end.
        :param wait: seconds until then.
        """
        if wait:
            self._loop.call_later(wait, self._try_to_fork, link, run, _RETRY_FIRST)
        else:
            self._try_to_fork(link, run, _RETRY_FIRST)

    def _try_to_fork(self, link: Link, run: Callable[[ProcessEnd], NoReturn], retry: float) -> None:
        if link.is_retiring:
            link.owner.ended(link, 0)
            return
        try:
            self._fork(link, run)
        except OSError as error:
            logger.warning("No process can be started; tried again in %.1f s: %s.", retry, error)
            following = min(2 * retry, _RETRY_LONGEST)
            self._loop.call_later(retry, self._try_to_fork, link, run, following)

    def _fork(self, link: Link, run: Callable[[ProcessEnd], NoReturn]) -> None:
        """Fork now; where that fails (`OSError`) nothing is left behind."""
        noted = channel.Begun(link.requests)
        parent = os.getpid()
        ours, theirs = socket.socketpair()
        try:
            for end in (ours, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
            ours.setblocking(False)
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            try:
                self._connections.let_go()
                ours.close()
                for other in self._links.values():
                    descriptor = other.connection.fileno()
                    # Closed before where that process is about to end.
                    if descriptor >= 0:
                        os.close(descriptor)
                run(ProcessEnd(theirs, link.mark, noted, parent))
            except BaseException:  # noqa: BLE001
                # The front's loop is above: a child must not come back to it.
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()
        link.pid, link.connection, link.noted = pid, ours, noted
        self._links[pid] = link
        link.owner.forked(link)
        self._loop.create_task(self._connect(link))

    async def _connect(self, link: Link) -> None:
        try:
            await self._loop.create_unix_connection(lambda: link, sock=link.connection)
        except Exception:
            logger.exception("Process %d cannot be talked to.", link.pid)
            link.abort()

    def _children_changed(self, has_ended: bool = False) -> None:
        """See what has become of all; `has_ended`: in what is looked at again, one had ended."""
        self._changed.set()
        # Only our own, and what they left: what the model started before them is not ours to reap.
        for link in list(self._links.values()):
            try:
                has_ended = self._look_after(link) or has_ended
            except Exception:
                logger.exception("Process %d is ended.", link.pid)
                link.kill()
        if self._orphans.reap(self._links, has_ended=has_ended):
            # Those killed now may leave some in turn, and not all tell of their end.
            self._loop.call_later(_ENDING_SECONDS, self._children_changed, has_ended)
        if self._scratch is not None:
            self._scratch.sweep(self._links)

    def _look_after(self, link: Link) -> bool:
        """See what has become of a process; whether it has ended."""
        try:
            pid, status = os.waitpid(
                link.pid, os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0)
            )
        except ChildProcessError:
            # Somebody else in this process has reaped it, the model's threads perhaps.
            pid, status = link.pid, 1 << 8
        if not pid:
            return False
        if os.WIFSTOPPED(status):
            link.is_stopped = True
            self._loop.call_later(_STOPPED_SECONDS, self._end_if_stopped, link)
        elif os.WIFCONTINUED(status):
            link.is_stopped = False
            link.owner.continued(link)
        else:
            self._ended(link, status)
            return True
        return False

    def _end_if_stopped(self, link: Link) -> None:
        if link.is_stopped and link.pid in self._links:
            logger.warning("Process %d was stopped; it is replaced.", link.pid)
            link.owner.replace(link, "stopped", kill=True)

    def _ended(self, link: Link, status: int) -> None:
        try:
            link.drain()
        finally:
            del self._links[link.pid]
            if link.transport is None:
                link.connection.close()
            else:
                link.transport.abort()
            link.owner.ended(link, status)
            link.pid = 0
