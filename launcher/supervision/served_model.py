"""One deployment's life: start, ready, reload, crash, backoff, stop."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from launcher.errors import ServerCrashedError, ServerNotReadyError
from launcher.supervision.deployment import Deployment, Limits, Observer
from launcher.supervision.log import ServerLog
from launcher.supervision.process import describe_exit
from launcher.supervision.server import Failure, Loop, SupervisedServer
from scoring_server.events import Draining, Event, WorkerCrashed

if TYPE_CHECKING:
    from launcher.supervision.probes import Probe

_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.5, 30.0


class ServedModel:
    """Keeps one server running until it is told to stop.

    While a reload moves from one server to the next there are two, and old ones that finish their
    requests. All methods are for the loop's thread.

    :param deployment: what to serve first. Whatever is deployed is closed once nothing serves it.
    :param listening: the bound socket to hand down.
    :param url: where the server answers.
    :param log: takes the servers' output.
    :param loop: waits on what is to be waited on.
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
        loop: Loop,
        *,
        limits: Limits,
        report: Callable[[str], None],
        observer: Observer,
        redeploy: Callable[[], Deployment] | None = None,
    ) -> None:
        self._deployment = deployment
        self._listening = listening
        self._url = url
        self._log = log
        self._loop = loop
        self._limits = limits
        self._report = report
        self._observer = observer
        self._redeploy = redeploy
        self._server: SupervisedServer | None = None
        self._incoming: tuple[SupervisedServer, Deployment] | None = None
        self._draining: dict[SupervisedServer, Deployment] = {}
        self._moving_from: SupervisedServer | None = None
        self._liveness: Probe | None = None
        self._was_ready = False
        self._is_stopping = False
        self._is_reloading = False
        self._restart_at: float | None = None
        self._failed_starts = 0
        self._crashes: deque[float] = deque()
        self._too_many: str | None = None
        self.restarts = 0
        self.reloads = 0

    @property
    def state(self) -> str:
        """``starting``, ``ready``, ``reloading``, ``restarting`` or ``stopping``."""
        if self._is_stopping:
            return "stopping"
        if self._server is None:
            return "restarting"
        if not self._server.is_ready:
            return "restarting" if self._was_ready else "starting"
        return "reloading" if self._is_reloading else "ready"

    # --- for the loop ------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs or will run."""
        return not self._servers and self._restart_at is None

    @property
    def pids(self) -> set[int]:
        """The servers' process ids."""
        return {server.process.pid for server in self._servers}

    @property
    def is_preparing(self) -> bool:
        """Whether a reload is being prepared, which may start processes of its own."""
        return self._is_reloading and self._incoming is None

    @property
    def next_time(self) -> float | None:
        """When ``handle_times`` has something to do next, as ``time.monotonic`` has it."""
        times = [self._restart_at, *(server.deadline for server in self._servers)]
        return min((each for each in times if each is not None), default=None)

    def handle_times(self) -> None:
        """Do what is to be done by now."""
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._restart()
        for server in self._servers:
            if server.is_late():
                server.process.kill_group()
                if server.is_ready or self._is_stopping:
                    self._report(f"killed: it did not stop within {self._limits.graceful:g} s")

    def handle_exits(self) -> None:
        """Take notice of servers that have ended.

        :raises ServerNotReadyError: the first one ended before it was ready.
        :raises ServerCrashedError: it crashed more often than the limits allow.
        """
        for server in self._servers:
            code = server.process.exit_code()
            if code is not None:
                server.discard()
                self._has_ended(server, describe_exit(code))

    @property
    def _servers(self) -> list[SupervisedServer]:
        incoming = None if self._incoming is None else self._incoming[0]
        present = [each for each in (self._server, incoming) if each is not None]
        return [*present, *self._draining]

    # --- start, ready ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first server.

        :raises ServerNotReadyError: that cannot be done.
        """
        try:
            self._server = self._new_server(self._deployment)
        except OSError as error:
            raise ServerNotReadyError(f"The server cannot be started: {error}.") from error

    def _new_server(self, deployment: Deployment) -> SupervisedServer:
        deployment.configure(restarts=self.restarts, reloads=self.reloads)
        return SupervisedServer(
            deployment.command,
            self._listening,
            self._url,
            self._loop,
            self._log,
            ready_within=self._limits.ready,
            on_event=self._take_event,
            on_ready=self._became_ready,
        )

    def _take_event(self, event: Event) -> None:
        if isinstance(event, WorkerCrashed) and event.early:
            # It never answered anything: the model may not be able to.
            self._note_crash(f"A worker {event.reason}")
        elif isinstance(event, Draining):
            self._moved_over()
        self._observer.event(event)

    def _became_ready(self, server: SupervisedServer) -> None:
        if self._incoming is not None and server is self._incoming[0]:
            self._move_over(*self._incoming)
        self._was_ready = True
        self._watch_liveness(server)
        self._observer.ready(self._deployment)

    def _watch_liveness(self, server: SupervisedServer | None) -> None:
        if self._liveness is not None:
            self._liveness.stop()
            self._liveness = None
        if server is None or self._limits.liveness is None:
            return
        # Here: the server starts without it.
        from launcher.supervision.probes import Probe, url_below

        silence = self._limits.liveness
        self._liveness = Probe(
            url_below(self._url, server.command.ping_path),
            min(5.0, silence / 4, self._limits.probe_every or silence),
            on_answer=lambda: self._loop.post(self._observer.alive),
            silence=silence,
            on_silent=lambda: self._loop.post(lambda: self._fell_silent(server)),
        )

    def _fell_silent(self, server: SupervisedServer) -> None:
        if server is self._server and not self._is_stopping:
            path = server.command.ping_path
            self._report(f"the server has not answered {path} for {self._limits.liveness:g} s")
            server.process.kill_group()

    # --- reload ------------------------------------------------------------------------------

    def reload(self) -> None:
        """Prepare what is to be served anew, start it, and move over to it once it is ready."""
        if self._is_stopping or self._is_reloading:
            return
        if self._redeploy is None or self._server is None or not self._server.is_ready:
            self._reload_ended("the server is not ready")
            return
        if not self._server.command.side_by_side:
            self._reload_ended("this engine cannot start a second server beside the first")
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
                self._loop.post(lambda: self._reload_ended(failure))
            else:
                self._loop.post(lambda: self._start_incoming(deployment))

        try:
            threading.Thread(target=prepare, name="reload", daemon=True).start()
        except RuntimeError as error:  # no room for another thread
            self._reload_ended(str(error))

    def _start_incoming(self, deployment: Deployment) -> None:
        if self._is_stopping:
            deployment.close()
            return
        self.reloads += 1
        try:
            self._incoming = self._new_server(deployment), deployment
        # As above.
        except Exception as error:  # noqa: BLE001
            deployment.close()
            self._reload_ended(str(error) or type(error).__name__)

    def _move_over(self, server: SupervisedServer, deployment: Deployment) -> None:
        """Make the incoming server the one; the other one stops listening and drains."""
        old, before = self._server, self._deployment
        self._server, self._deployment, self._incoming = server, deployment, None
        self._restart_at = None
        if old is None:
            before.close()
            self._reload_ended(None)
        else:
            self._moving_from = old
            self._draining[old] = before
            old.ask_to_stop(old.command.drain_signal, self._limits.graceful)

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

    # --- stop, crash -------------------------------------------------------------------------

    def stop(self, signum: int) -> None:
        """Have the servers finish their requests and end; a second SIGINT ends them at once."""
        self._restart_at = None
        if self._is_stopping:
            if signum == signal.SIGINT:
                self._report("stopping at once")
                for server in self._servers:
                    server.process.kill_group()
            return
        self._is_stopping = True
        self._watch_liveness(None)
        self._observer.stopping()
        self._report(f"{signal.Signals(signum).name}: stopping, requests in flight are finished")
        for server in self._servers:
            server.ask_to_stop(signal.SIGTERM, self._limits.graceful)

    def close(self) -> None:
        """End all that is left, at once."""
        self._watch_liveness(None)
        for server in self._servers:
            server.discard()
        incoming = [] if self._incoming is None else [self._incoming[1]]
        for deployment in (self._deployment, *incoming, *self._draining.values()):
            deployment.close()

    def _has_ended(self, server: SupervisedServer, ending: str) -> None:
        if server in self._draining:
            deployment = self._draining.pop(server)
            if server is self._moving_from:
                self._moved_over()
            deployment.close()
        elif self._incoming is not None and server is self._incoming[0]:
            deployment = self._incoming[1]
            self._incoming = None
            deployment.close()
            if not self._is_stopping:
                self._reload_ended(_why_not_ready(server, ending).message)
        else:
            self._server = None
            self._watch_liveness(None)
            if not self._is_stopping:
                self._crashed(server, ending)

    def _crashed(self, server: SupervisedServer, ending: str) -> None:
        if not self._was_ready:
            failure = _why_not_ready(server, ending)
            raise ServerNotReadyError(failure.message, failure.hint, log_path=self._log.path)
        if self._too_many is None:
            self._note_crash(f"The server {ending}")
        if self._too_many is not None:
            raise ServerCrashedError(
                self._too_many, "Its last lines are above.", log_path=self._log.path
            )
        self.restarts += 1
        delay = _backoff(len(self._crashes))
        self._report(f"the server {ending}; restarting it in {delay:g} s")
        self._restart_at = time.monotonic() + delay

    def _note_crash(self, what: str) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        while self._crashes[0] < now - self._limits.window:
            self._crashes.popleft()
        if len(self._crashes) > self._limits.restarts and not self._is_stopping:
            self._too_many = (
                f"{what}, {len(self._crashes)} times within {self._limits.window:g} s; "
                "it is not restarted again."
            )
            if self._server is not None:
                self._server.process.kill_group()

    def _restart(self) -> None:
        # Planned before it is tried: whatever goes wrong, the next try comes.
        self._failed_starts += 1
        delay = _backoff(self._failed_starts)
        self._restart_at = time.monotonic() + delay
        try:
            self._server = self._new_server(self._deployment)
        except OSError as error:
            reason = error.strerror or str(error)
            self._report(f"the server cannot be started: {reason}; trying again in {delay:g} s")
            return
        self._restart_at = None
        self._failed_starts = 0


def _backoff(times: int) -> float:
    """Seconds to wait after so many failures."""
    return float(min(_BACKOFF_FIRST * 2.0 ** (times - 1), _BACKOFF_LONGEST))


def _why_not_ready(server: SupervisedServer, ending: str) -> Failure:
    return server.failure or Failure(f"The server {ending} before it was ready.")
