"""One server under supervision: its process, what it says, whether it is ready."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher.supervision.log import ServerLog
from launcher.supervision.process import Command, ServerProcess
from launcher.supervision.readiness import ping

# A backend without a status pipe is asked this often, in seconds.
_PROBE_INTERVAL = 0.1


@dataclass(frozen=True)
class Failure:
    """Why a server did not become ready: what is wrong, and what to do."""

    message: str
    hint: str | None = None


class SupervisedServer:
    """Starts a server and follows it.

    :param command: the server's command.
    :param listening: the bound socket to hand down.
    :param url: where it answers, for /ping.
    :param selector: the loop's; what is registered there has a call as its data.
    :param log: takes its output.
    :param ready_within: seconds until it has to be ready; None for no limit.
    :param on_event: called with each event that it sends.
    """

    def __init__(
        self,
        command: Command,
        listening: socket.socket,
        url: str,
        selector: selectors.BaseSelector,
        log: ServerLog,
        *,
        ready_within: float | None,
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self.command = command
        self._url = url
        self._selector = selector
        self._log = log
        self._on_event = on_event
        self._ready_within = ready_within
        self.is_ready = False
        self.failure: Failure | None = None
        self.deadline = None if ready_within is None else time.monotonic() + ready_within
        self.next_probe: float | None = None
        self.process = ServerProcess(command, listening)
        selector.register(self.process.output, selectors.EVENT_READ, self._take_output)
        selector.register(self.process.status, selectors.EVENT_READ, self._take_status)
        if not command.announces:
            self.next_probe = time.monotonic() + _PROBE_INTERVAL

    @property
    def next_time(self) -> float | None:
        """When ``tick`` has something to do next."""
        times = [each for each in (self.deadline, self.next_probe) if each is not None]
        return min(times, default=None)

    def becomes_ready(self) -> bool:
        """Probe it when it is time to; true once, when it has become ready."""
        if self.next_probe is None or time.monotonic() < self.next_probe or self.is_ready:
            return False
        if ping(self._url, timeout=2.0, verify=False) is not None:
            self.next_probe = time.monotonic() + _PROBE_INTERVAL
            return False
        self.next_probe = self.deadline = None
        self.is_ready = True
        return True

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
        self.next_probe = None
        self.deadline = time.monotonic() + within
        if self.is_ready:
            self.process.send_signal(signum)
        else:
            self.process.kill_group()

    def discard(self) -> None:
        """End it and all that it started; take what it said last."""
        # Killed first: a descendant that holds the output open would keep us reading.
        self.process.kill_group()
        self.process.wait()
        for descriptor in (self.process.output, self.process.status):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        while chunk := self.process.read_output():
            self._log.write(chunk)
        for event in self.process.read_status() or []:
            self._take_event(event)
        self.process.close()

    def _take_output(self) -> None:
        chunk = self.process.read_output()
        if chunk:
            self._log.write(chunk)
        elif chunk == b"":
            self._selector.unregister(self.process.output)

    def _take_status(self) -> None:
        events = self.process.read_status()
        if events is None:
            self._selector.unregister(self.process.status)
            return
        for event in events:
            self._take_event(event)

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "failed":
            self.failure = Failure(event["message"], event.get("hint"))
            self._log.keep(event.get("traceback", "").encode())
        elif event["event"] == "ready" and not self.is_ready:
            self.next_probe = time.monotonic()
        self._on_event(event)
