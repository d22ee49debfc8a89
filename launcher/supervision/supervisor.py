"""The loop that waits on everything at once, in a single thread.

Signals, the servers' output and status, their ends, control connections and the next deadline.
Only what may take long runs in threads, which post their outcome: the preparation of a reload, the
probes.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable
from functools import partial

from launcher.errors import LauncherError
from launcher.supervision.inbox import Inbox
from launcher.supervision.inherited_processes import reap_inherited
from launcher.supervision.log import ServerLog
from launcher.supervision.served_model import ServedModel

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNALS = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
# After a failure descriptors are left alone for so many seconds: it may last.
_PAUSE = 1.0


class Supervisor:
    """Waits for what happens to served models, and has them handle it.

    Whatever a handler raises is logged, and the loop goes on: it ends when all models have ended,
    or by a LauncherError, which says that one cannot be served.

    :param log: takes the tracebacks of handlers that failed.
    :param report: called with one line about what happens.
    """

    def __init__(self, log: ServerLog, report: Callable[[str], None]) -> None:
        self.selector = selectors.DefaultSelector()
        self._inbox = Inbox()
        self._log = log
        self._report = report
        self._models: list[ServedModel] = []
        self._paused_until = 0.0

    def run(self, *models: ServedModel) -> None:
        """Start the models and stay until they have been stopped as asked.

        :raises ServerNotReadyError: one ended before it was ready, or was not ready in time.
        :raises ServerCrashedError: one crashed more often than its limits allow.
        """
        self._models = list(models)
        with self._inbox.signals_queued(_SIGNALS):
            self.selector.register(self._inbox, selectors.EVENT_READ, self._inbox.drain)
            try:
                for model in models:
                    model.start()
                while not all(model.is_over for model in models):
                    self._turn()
            finally:
                for model in models:
                    self._call(model.close)
                self.selector.close()
                self._inbox.close()

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the loop. Any thread may post."""
        self._inbox.post(call)

    def _turn(self) -> None:
        for key in self._wait():
            self._call(key.data)
        for call in self._inbox.take_calls():
            self._call(call)
        for signum in self._inbox.take_signals():
            self._call(partial(self._handle_signal, signum))
        for model in self._models:
            self._call(model.handle_times)
            self._call(model.handle_exits)
        self._call(self._reap)

    def _wait(self) -> list[selectors.SelectorKey]:
        """Wait for the next thing to happen, and return the descriptors that have something."""
        now = time.monotonic()
        times = [each for model in self._models if (each := model.next_time) is not None]
        timeout = max(0.0, min(times) - now) if times else None
        pause = self._paused_until - now
        if pause <= 0:
            return [key for key, _ in self.selector.select(timeout)]
        # Signals and calls only, which are all read away. By poll(2): it takes no descriptor.
        key = self.selector.get_key(self._inbox)
        with selectors.PollSelector() as inbox:
            inbox.register(self._inbox, selectors.EVENT_READ)
            return [key] if inbox.select(pause if timeout is None else min(pause, timeout)) else []

    def _handle_signal(self, signum: int) -> None:
        for model in self._models:
            if signum == signal.SIGHUP:
                model.reload()
            elif signum in _STOP_SIGNALS:
                model.stop(signum)

    def _reap(self) -> None:
        # While a reload is prepared, its own children are among ours.
        if not any(model.is_preparing for model in self._models):
            reap_inherited(set().union(*(model.pids for model in self._models)))

    def _call(self, handler: Callable[[], None]) -> None:
        """Call a handler. This is the one place that says what ends the launcher."""
        try:
            handler()
        except LauncherError:
            raise
        except Exception as error:  # noqa: BLE001 - a service does not end because of it
            import traceback  # here: the server starts without it

            self._paused_until = time.monotonic() + _PAUSE
            self._log.keep(traceback.format_exc().encode())
            self._report(
                f"an error of the launcher, which goes on: {type(error).__name__}: {error}"
            )
