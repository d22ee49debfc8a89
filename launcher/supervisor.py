"""Supervises one server: start, signals, readiness, restarts, stop.

A single thread waits on everything at once: signals, the server's output and status, its end and
the next deadline.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from launcher.errors import ServerCrashedError, ServerNotReadyError
from launcher.readiness import ping
from launcher.server_log import ServerLog
from launcher.server_process import Command, ServerProcess, describe_exit

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNALS = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
# A backend without a status pipe is asked this often, in seconds.
_PROBE_INTERVAL = 0.1
_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0


@dataclass(frozen=True)
class Limits:
    """``ready``, ``graceful`` and ``window`` in seconds; ``restarts`` within one window."""

    ready: float | None = None
    graceful: float = 30.0
    restarts: int = 5
    window: float = 60.0


class Supervisor:
    """Keeps one server running until it is told to stop.

    :param command: the server's command.
    :param listening: the bound socket to hand down.
    :param url: where the server answers, for /ping.
    :param log: takes the server's output.
    :param report: called with one line about what happens.
    :param on_ready: called each time that the server has become ready.
    :param announces: the server says on the status pipe that it listens; else /ping is asked.
    """

    def __init__(
        self,
        command: Command,
        listening: socket.socket,
        url: str,
        log: ServerLog,
        *,
        limits: Limits,
        report: Callable[[str], None],
        on_ready: Callable[[], None],
        on_event: Callable[[dict[str, Any]], None] = lambda _: None,
        announces: bool = True,
    ) -> None:
        self._command = command
        self._listening = listening
        self._url = url
        self._log = log
        self._limits = limits
        self._report = report
        self._on_ready = on_ready
        self._on_event = on_event
        self._announces = announces
        self._selector = selectors.DefaultSelector()
        self._server: ServerProcess | None = None
        self._signals: deque[int] = deque()
        self._ready = False
        self._was_ready = False
        self._stopping = False
        self._failure: dict[str, Any] | None = None
        self._deadline: float | None = None
        self._next_probe: float | None = None
        self._restart_at: float | None = None
        self._crashes: deque[float] = deque()

    def run(self) -> None:
        """Start the server and stay until it has been stopped as asked.

        :raises ServerNotReadyError: it ended before it was ready, or was not ready in time.
        :raises ServerCrashedError: it crashed more often than the limits allow.
        """
        with self._signals_queued():
            try:
                self._start()
                while self._server is not None or self._restart_at is not None:
                    self._wait()
                    self._handle_signals()
                    self._handle_deadlines()
                    self._handle_exit()
            finally:
                self._discard_server()
                self._selector.close()

    # --- the server's life -------------------------------------------------------------------

    def _start(self) -> None:
        self._restart_at = None
        self._ready = False
        self._failure = None
        server = ServerProcess(self._command, self._listening)
        self._server = server
        self._selector.register(server.output, selectors.EVENT_READ, self._take_output)
        self._selector.register(server.status, selectors.EVENT_READ, self._take_status)
        if self._limits.ready is not None:
            self._deadline = time.monotonic() + self._limits.ready
        if not self._announces:
            self._next_probe = time.monotonic() + _PROBE_INTERVAL

    def _discard_server(self) -> None:
        server, self._server = self._server, None
        self._deadline = self._next_probe = None
        if server is None:
            return
        # Killed first: a descendant that holds the output open would keep us reading.
        server.kill_group()
        server.wait()
        for descriptor in (server.output, server.status):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        while chunk := server.read_output():
            self._log.write(chunk)
        for event in server.read_status() or []:
            self._take_event(event)
        server.close()

    def _take_output(self) -> None:
        assert self._server is not None
        chunk = self._server.read_output()
        if chunk:
            self._log.write(chunk)
        elif chunk == b"":
            self._selector.unregister(self._server.output)

    def _take_status(self) -> None:
        assert self._server is not None
        events = self._server.read_status()
        if events is None:
            self._selector.unregister(self._server.status)
            return
        for event in events:
            self._take_event(event)

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "failed":
            self._failure = event
            self._log.keep(event.get("traceback", "").encode())
        elif event["event"] == "ready" and not self._ready and self._server is not None:
            self._next_probe = time.monotonic()
        self._on_event(event)

    def _probe(self) -> None:
        if ping(self._url, timeout=2.0) is not None:
            self._next_probe = time.monotonic() + _PROBE_INTERVAL
            return
        self._next_probe = None
        if not self._stopping:
            self._deadline = None
            self._ready = self._was_ready = True
            self._on_ready()

    # --- what can happen ----------------------------------------------------------------------

    def _wait(self) -> None:
        times = [
            each
            for each in (self._deadline, self._next_probe, self._restart_at)
            if each is not None
        ]
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        for key, _ in self._selector.select(timeout):
            key.data()

    def _handle_signals(self) -> None:
        while self._signals:
            signum = self._signals.popleft()
            if signum == signal.SIGHUP and self._server is not None:
                self._server.send_signal(signum)
            elif signum in _STOP_SIGNALS:
                self._stop(signum)

    def _stop(self, signum: int) -> None:
        self._restart_at = None
        if self._server is None:
            return
        if self._stopping:
            if signum == signal.SIGINT:
                self._report("stopping at once")
                self._server.kill_group()
            return
        self._stopping = True
        self._next_probe = None
        self._report(f"{signal.Signals(signum).name}: stopping, requests in flight are finished")
        self._deadline = time.monotonic() + self._limits.graceful
        # Before it is ready there is nothing to finish.
        if self._ready:
            self._server.send_signal(signal.SIGTERM)
        else:
            self._server.kill_group()

    def _handle_deadlines(self) -> None:
        now = time.monotonic()
        if self._restart_at is not None and now >= self._restart_at:
            self._start()
        if self._next_probe is not None and now >= self._next_probe:
            self._probe()
        if self._deadline is None or now < self._deadline or self._server is None:
            return
        self._deadline = None
        self._server.kill_group()
        if self._stopping:
            self._report(f"killed: it did not stop within {self._limits.graceful:g} s")
        else:
            self._failure = {
                "message": f"The server was not ready within {self._limits.ready:g} s.",
                "hint": "Give it more time with --ready-timeout.",
            }

    def _handle_exit(self) -> None:
        if self._server is None:
            return
        code = self._server.exit_code()
        if code is None:
            return
        self._discard_server()
        if self._stopping:
            return
        ending = describe_exit(code)
        if not self._was_ready:
            raise self._not_ready(ending)
        self._crashes.append(time.monotonic())
        while self._crashes[0] < time.monotonic() - self._limits.window:
            self._crashes.popleft()
        if len(self._crashes) > self._limits.restarts:
            raise ServerCrashedError(
                f"The server {ending}, {len(self._crashes)} times within "
                f"{self._limits.window:g} s; it is not restarted again.",
                "Its last lines are above.",
                log_path=self._log.path,
            )
        delay = min(_BACKOFF_FIRST * 2 ** (len(self._crashes) - 1), _BACKOFF_LONGEST)
        self._report(f"the server {ending}; restarting it in {delay:g} s")
        self._restart_at = time.monotonic() + delay

    def _not_ready(self, ending: str) -> ServerNotReadyError:
        failure = self._failure or {}
        return ServerNotReadyError(
            failure.get("message") or f"The server {ending} before it was ready.",
            failure.get("hint"),
            log_path=self._log.path,
        )

    # --- signals ------------------------------------------------------------------------------

    @contextmanager
    def _signals_queued(self) -> Iterator[None]:
        """Queue signals and wake the selector; handlers themselves do nothing else."""
        woken, waker = socket.socketpair()
        for end in (woken, waker):
            end.setblocking(False)

        def queue(signum: int, _frame: FrameType | None) -> None:
            self._signals.append(signum)

        def drain() -> None:
            woken.recv(4096)

        previous = {each: signal.signal(each, queue) for each in _SIGNALS}
        previous_waker = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, drain)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous_waker)
            for each, handler in previous.items():
                signal.signal(each, handler)
            woken.close()
            waker.close()
