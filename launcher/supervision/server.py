"""One server under supervision: its process, what it says, whether it is ready."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from launcher.supervision.log import ServerLog
from launcher.supervision.process import Command, ServerProcess
from scoring_server.events import Event, Failed, Ready, decode

if TYPE_CHECKING:
    from launcher.supervision.probes import Probe

# A server without a status pipe is asked this often whether it is ready, in seconds.
_PROBE_INTERVAL = 0.1


class Failure(NamedTuple):
    """Why a server did not become ready: what is wrong, and what to do."""

    message: str
    hint: str | None = None


class Loop(Protocol):
    """What waits on everything; what is registered in its selector has a call as its data."""

    @property
    def selector(self) -> selectors.BaseSelector:
        """Where descriptors are watched."""

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the loop. Any thread may post."""


class SupervisedServer:
    """Starts a server and follows it.

    :param command: the server's command.
    :param listening: the bound socket to hand down.
    :param url: where it answers.
    :param loop: watches its pipes.
    :param log: takes its output.
    :param ready_within: seconds until it has to be ready; None for no limit.
    :param on_event: called with each event that it sends.
    :param on_ready: called once, when it has become ready.
    :raises OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Command,
        listening: socket.socket,
        url: str,
        loop: Loop,
        log: ServerLog,
        *,
        ready_within: float | None,
        on_event: Callable[[Event], None],
        on_ready: Callable[[SupervisedServer], None],
    ) -> None:
        self.command = command
        self._selector = loop.selector
        self._log = log
        self._on_event = on_event
        self._on_ready = on_ready
        self._ready_within = ready_within
        self._is_ending = False
        self._probe: Probe | None = None
        self.is_ready = False
        self.failure: Failure | None = None
        self.process = ServerProcess(command, listening)
        self.deadline = None if ready_within is None else time.monotonic() + ready_within
        self._selector.register(self.process.output, selectors.EVENT_READ, self._take_output)
        self._selector.register(self.process.status, selectors.EVENT_READ, self._take_status)
        if command.descriptors is None:
            # Here: most servers announce themselves.
            from launcher.supervision.probes import Probe, url_below

            self._probe = Probe(
                url_below(url, command.ping_path),
                _PROBE_INTERVAL,
                on_answer=lambda: loop.post(self._become_ready),
            )

    def is_late(self) -> bool:
        """Whether its deadline (for readiness, or for the end) has passed; true once."""
        if self.deadline is None or time.monotonic() < self.deadline:
            return False
        self.deadline = None
        if not self.is_ready:
            self.failure = Failure(
                f"The server was not ready within {self._ready_within:g} s.",
                "Give it more time with --ready-timeout.",
            )
        return True

    def ask_to_stop(self, signum: int, within: float) -> None:
        """Have it finish its requests; before it is ready there are none.

        :param within: seconds until it is late.
        """
        self._is_ending = True
        self.deadline = time.monotonic() + within
        if self.is_ready:
            self.process.send_signal(signum)
        else:
            self.process.kill_group()

    def discard(self) -> None:
        """End it and all that it started; take what it said last."""
        self._is_ending = True
        self._stop_probe()
        # Killed first: a descendant that holds the output open would keep us reading.
        self.process.kill_group()
        self.process.wait()
        for descriptor in (self.process.output, self.process.status):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        while chunk := self.process.read_output():
            self._log.write(chunk)
        while lines := self.process.read_status():
            self._take_events(lines)
        self.process.close()

    def _stop_probe(self) -> None:
        if self._probe is not None:
            self._probe.stop()
            self._probe = None

    def _take_output(self) -> None:
        chunk = self.process.read_output()
        if chunk:
            self._log.write(chunk)
        elif chunk == b"":
            self._selector.unregister(self.process.output)

    def _take_status(self) -> None:
        lines = self.process.read_status()
        if lines is None:
            self._selector.unregister(self.process.status)
        else:
            self._take_events(lines)

    def _take_events(self, lines: Iterable[bytes]) -> None:
        for event in read_events(lines, self._log):
            if isinstance(event, Failed):
                self.failure = Failure(event.message, event.hint)
            self._on_event(event)
            if isinstance(event, Ready):
                self._become_ready()

    def _become_ready(self) -> None:
        if self.is_ready or self._is_ending:
            return
        self._stop_probe()
        self.deadline = None
        self.is_ready = True
        self._on_ready(self)


def read_events(lines: Iterable[bytes], log: ServerLog) -> Iterator[Event]:
    """The events of lines of the status pipe; tracebacks, and lines that are none, go to the log.

    The model's code has inherited the pipe, so that anything may be on it.
    """
    for line in lines:
        try:
            event = decode(line)
        except (ValueError, RecursionError) as error:
            log.keep(f"[a line of the status pipe is dropped: {error}]\n".encode())
            continue
        if isinstance(event, Failed):
            log.keep(event.traceback.encode())
        yield event
