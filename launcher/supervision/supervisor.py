"""Supervises a server: start, signals, readiness, liveness, restarts, reloads, stop.

A single thread waits on everything at once: signals, the servers' output and status, their ends,
control connections and the next deadline. Only what may take long runs in threads, which post
their outcome: the preparation of a reload, the probes of liveness.
"""

from __future__ import annotations

import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from launcher.errors import ServerCrashedError, ServerNotReadyError
from launcher.supervision.inbox import Inbox
from launcher.supervision.inherited_processes import reap_inherited
from launcher.supervision.log import ServerLog
from launcher.supervision.process import Command, describe_exit
from launcher.supervision.server import Failure, SupervisedServer

if TYPE_CHECKING:
    from launcher.supervision.liveness import LivenessWatch

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNALS = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0


@dataclass(frozen=True)
class Limits:
    """Times in seconds; ``restarts`` within one ``window``.

    ``liveness`` without an answer, asked ``probe_every`` so many at most, is a server's end.
    """

    ready: float | None = None
    graceful: float = 30.0
    liveness: float | None = None
    probe_every: float | None = None
    restarts: int = 5
    window: float = 60.0


class Deployment(Protocol):
    """What is served: a model in its environment, as a command."""

    @property
    def command(self) -> Command:
        """The server's command."""

    def write_config(self, *, restarts: int, reloads: int) -> None:
        """Write the configuration that the command names."""

    def close(self) -> None:
        """Let go of the environment: nothing runs in it any more."""


class Observer:
    """Is told what happens; each method may be overridden."""

    def ready(self, deployment: Deployment) -> None:
        """A server of ``deployment`` has become ready, the first or a later one."""

    def event(self, event: dict[str, Any]) -> None:
        """The server has said something on its status pipe."""

    def stopping(self) -> None:
        """The stop has begun."""

    def reloading(self) -> None:
        """A reload has begun."""

    def reloaded(self, failure: str | None) -> None:
        """A reload has ended; ``failure`` says why the old server stays."""

    def alive(self) -> None:
        """The server has answered /ping."""


class Supervisor:
    """Keeps one server running until it is told to stop.

    :param deployment: what to serve first; it is closed at the end.
    :param listening: the bound socket to hand down.
    :param url: where the server answers, for /ping.
    :param log: takes the servers' output.
    :param report: called with one line about what happens.
    :param observer: told about what happens.
    :param redeploy: prepares what a reload serves; runs in a thread and may take long.
    """

    def __init__(
        self,
        deployment: Deployment,
        listening: socket.socket,
        url: str,
        log: ServerLog,
        *,
        limits: Limits,
        report: Callable[[str], None],
        observer: Observer,
        redeploy: Callable[[], Deployment] | None = None,
    ) -> None:
        self._listening = listening
        self._url = url
        self._log = log
        self._limits = limits
        self._report = report
        self._observer = observer
        self._redeploy = redeploy
        self.selector = selectors.DefaultSelector()
        self._inbox = Inbox()
        self._deployments: dict[SupervisedServer, Deployment] = {}
        self._deployment = deployment
        self._server: SupervisedServer | None = None
        self._incoming: SupervisedServer | None = None
        self._draining: list[SupervisedServer] = []
        self._liveness: LivenessWatch | None = None
        self._was_ready = False
        self.is_stopping = False
        self._is_reloading = False
        self._moving_from: SupervisedServer | None = None
        self._restart_at: float | None = None
        self._crashes: deque[float] = deque()
        self._too_many: str | None = None
        self.restarts = 0
        self.reloads = 0

    def run(self) -> None:
        """Start the server and stay until it has been stopped as asked.

        :raises ServerNotReadyError: it ended before it was ready, or was not ready in time.
        :raises ServerCrashedError: it crashed more often than the limits allow.
        """
        with self._inbox.signals_queued(_SIGNALS):
            self.selector.register(self._inbox, selectors.EVENT_READ, self._inbox.drain)
            try:
                self._start()
                while self._servers or self._restart_at is not None:
                    self._wait()
                    self._handle_signals()
                    self._handle_times()
                    self._handle_exits()
            finally:
                self._watch_liveness(None)
                for server in self._servers:
                    server.discard()
                self._deployment.close()
                self.selector.close()
                self._inbox.close()

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the loop. Any thread may post."""
        self._inbox.post(call)

    @property
    def state(self) -> str:
        """``starting``, ``ready``, ``reloading``, ``restarting`` or ``stopping``."""
        if self.is_stopping:
            return "stopping"
        if self._server is None:
            return "restarting"
        if not self._server.is_ready:
            return "restarting" if self._was_ready else "starting"
        return "reloading" if self._is_reloading else "ready"

    @property
    def _servers(self) -> list[SupervisedServer]:
        present = [each for each in (self._server, self._incoming) if each is not None]
        return [*present, *self._draining]

    # --- servers -----------------------------------------------------------------------------

    def _start(self) -> None:
        self._restart_at = None
        self._server = self._new_server(self._deployment)

    def _new_server(self, deployment: Deployment) -> SupervisedServer:
        deployment.write_config(restarts=self.restarts, reloads=self.reloads)
        return SupervisedServer(
            deployment.command,
            self._listening,
            self._url,
            self.selector,
            self._log,
            ready_within=self._limits.ready,
            on_event=self._take_event,
        )

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "worker_crashed" and event["early"]:
            # It never answered anything: the model may not be able to.
            self._note_crash(f"A worker {event['reason']}")
        elif event["event"] == "draining":
            self._moved_over()
        self._observer.event(event)

    def _became_ready(self, server: SupervisedServer) -> None:
        if server is self._incoming:
            self._move_over()
        self._was_ready = True
        self._observer.ready(self._deployment)
        self._watch_liveness(server)

    def _watch_liveness(self, server: SupervisedServer | None) -> None:
        if self._liveness is not None:
            self._liveness.stop()
            self._liveness = None
        if server is None or self._limits.liveness is None:
            return
        from launcher.supervision.liveness import (
            LivenessWatch,  # here: the server starts without it
        )

        self._liveness = LivenessWatch(
            self._url,
            self._limits.liveness,
            on_silent=lambda: self.post(lambda: self._silent(server)),
            on_answer=lambda: self.post(self._observer.alive),
            at_least_every=self._limits.probe_every,
        )
        self._liveness.start()

    def _silent(self, server: SupervisedServer) -> None:
        if server is self._server and not self.is_stopping:
            self._report(f"the server has not answered /ping for {self._limits.liveness:g} s")
            server.process.kill_group()

    # --- reload ------------------------------------------------------------------------------

    def reload(self) -> None:
        """Prepare what is to be served anew, start it, and move over to it once it is ready."""
        if self.is_stopping or self._is_reloading:
            return
        if self._redeploy is None or self._server is None or not self._server.is_ready:
            self._observer.reloaded("the server is not ready")
            return
        self._is_reloading = True
        self._report("reloading")
        self._observer.reloading()
        redeploy = self._redeploy

        def prepare() -> None:
            try:
                deployment = redeploy()
            # Whatever went wrong, the old server stays and the reason is told.
            except Exception as error:  # noqa: BLE001
                failure = str(error) or type(error).__name__
                self.post(lambda: self._reload_ended(failure))
            else:
                self.post(lambda: self._start_incoming(deployment))

        threading.Thread(target=prepare, name="reload", daemon=True).start()

    def _start_incoming(self, deployment: Deployment) -> None:
        if self.is_stopping:
            deployment.close()
            return
        self.reloads += 1
        self._incoming_deployment = deployment
        try:
            self._incoming = self._new_server(deployment)
        except OSError as error:
            deployment.close()
            self._reload_ended(str(error))

    def _move_over(self) -> None:
        """Make the incoming server the one; the other one stops listening and drains."""
        old, self._server, self._incoming = self._server, self._incoming, None
        before, self._deployment = self._deployment, self._incoming_deployment
        if old is None:
            before.close()
            self._reload_ended(None)
        else:
            self._moving_from = old
            self._deployments[old] = before
            self._draining.append(old)
            old.ask_to_stop(old.command.drain_signal, self._limits.graceful)
        self._restart_at = None

    def _moved_over(self) -> None:
        """The old server listens no more: from now on all connections are the new one's."""
        if self._moving_from is not None:
            self._moving_from = None
            self._reload_ended(None)

    def _reload_ended(self, failure: str | None) -> None:
        self._is_reloading = False
        if failure is None:
            self._report("reloaded; the old server finishes its requests")
        else:
            self._report(f"not reloaded, the old server stays: {failure}")
        self._observer.reloaded(failure)

    # --- what can happen ---------------------------------------------------------------------

    def _wait(self) -> None:
        times = [server.next_time for server in self._servers]
        known = [each for each in (*times, self._restart_at) if each is not None]
        timeout = max(0.0, min(known) - time.monotonic()) if known else None
        for key, _ in self.selector.select(timeout):
            key.data()
        for call in self._inbox.take_calls():
            call()

    def _handle_signals(self) -> None:
        for signum in self._inbox.take_signals():
            if signum == signal.SIGHUP:
                self.reload()
            elif signum in _STOP_SIGNALS:
                self.stop(signum)

    def stop(self, signum: int) -> None:
        """Have the servers finish their requests and end; a second SIGINT ends them at once."""
        self._restart_at = None
        if self.is_stopping:
            if signum == signal.SIGINT:
                self._report("stopping at once")
                for server in self._servers:
                    server.process.kill_group()
            return
        self.is_stopping = True
        self._watch_liveness(None)
        self._observer.stopping()
        self._report(f"{signal.Signals(signum).name}: stopping, requests in flight are finished")
        for server in self._servers:
            server.ask_to_stop(signal.SIGTERM, self._limits.graceful)

    def _handle_times(self) -> None:
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._start()
        for server in self._servers:
            if not self.is_stopping and server not in self._draining and server.becomes_ready():
                self._became_ready(server)
            if server.is_late():
                server.process.kill_group()
                if server.is_ready or self.is_stopping:
                    self._report(f"killed: it did not stop within {self._limits.graceful:g} s")

    def _handle_exits(self) -> None:
        for server in self._servers:
            code = server.process.exit_code()
            if code is None:
                continue
            server.discard()
            ending = describe_exit(code)
            if server in self._draining:
                self._draining.remove(server)
                if server is self._moving_from:
                    self._moved_over()
                self._deployments.pop(server).close()
            elif server is self._incoming:
                self._incoming = None
                self._incoming_deployment.close()
                failure = server.failure or Failure(f"The server {ending} before it was ready.")
                if not self.is_stopping:
                    self._reload_ended(failure.message)
            else:
                self._server = None
                self._watch_liveness(None)
                if not self.is_stopping:
                    self._ended(server, ending)
        if not self._is_reloading or self._incoming is not None:
            # While a reload is prepared, its own children are among ours.
            reap_inherited({server.process.pid for server in self._servers})

    def _ended(self, server: SupervisedServer, ending: str) -> None:
        if not self._was_ready:
            failure = server.failure or Failure(f"The server {ending} before it was ready.")
            raise ServerNotReadyError(failure.message, failure.hint, log_path=self._log.path)
        if self._too_many is None:
            self._note_crash(f"The server {ending}")
        if self._too_many is not None:
            raise ServerCrashedError(
                self._too_many, "Its last lines are above.", log_path=self._log.path
            )
        self.restarts += 1
        delay = min(_BACKOFF_FIRST * 2 ** (len(self._crashes) - 1), _BACKOFF_LONGEST)
        self._report(f"the server {ending}; restarting it in {delay:g} s")
        self._restart_at = time.monotonic() + delay

    def _note_crash(self, what: str) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        while self._crashes[0] < now - self._limits.window:
            self._crashes.popleft()
        if len(self._crashes) > self._limits.restarts and not self.is_stopping:
            self._too_many = (
                f"{what}, {len(self._crashes)} times within {self._limits.window:g} s; "
                "it is not restarted again."
            )
            if self._server is not None:
                self._server.process.kill_group()
