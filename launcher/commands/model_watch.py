"""Notices that a moving model URI (an alias, a stage, a folder) leads to something else."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Seconds that a question may take at the end.
_PATIENCE = 0.2


class ModelWatch:
    """Asks again every ``seconds`` what is behind a model URI.

    :param revision: asks; what it returns differs when the model has changed. May fetch it.
    :param known: the revision that is served.
    :param on_moved: called when another revision is there, once for each.
    :param on_problem: called with one line when asking fails, once until it succeeds again.

    Both are called from the watch's own thread.
    """

    def __init__(
        self,
        seconds: float,
        revision: Callable[[], str],
        known: str,
        *,
        on_moved: Callable[[], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._revision = revision
        self._known = known
        self._on_moved = on_moved
        self._on_problem = on_problem
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. One question may still be on its way; it ends with the process."""
        self._stopped.set()
        # A thread that the process's end has to end needs a file to be opened, and aborts it where
        # no descriptor is left (glibc's pthread_exit).
        self._thread.join(_PATIENCE)

    def _watch(self) -> None:
        has_problem = False
        while not self._stopped.wait(self._seconds):
            try:
                revision = self._revision()
            except Exception as error:  # noqa: BLE001 - no descriptor left, say: it may pass
                if not has_problem:
                    reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
                    self._on_problem(f"the model cannot be looked up: {reason}")
                has_problem = True
                continue
            has_problem = False
            if revision != self._known and not self._stopped.is_set():
                self._known = revision
                self._on_moved()
