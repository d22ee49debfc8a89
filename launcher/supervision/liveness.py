"""Liveness: a ready server goes on to answer ``/ping``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from launcher.supervision.readiness import ping


class LivenessWatch:
    """Asks ``/ping`` again and again, from a thread, since a hung server keeps one waiting.

    :param url: the server's base URL.
    :param timeout: seconds without an answer after which ``on_silent`` is called, once.
    :param at_least_every: seconds between two probes at most; None for a quarter of ``timeout``.
    :param on_answer: called after each answer. Both are called in the watching thread.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        on_silent: Callable[[], None],
        on_answer: Callable[[], None],
        at_least_every: float | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._interval = min(5.0, timeout / 4, at_least_every or timeout)
        self._on_silent = on_silent
        self._on_answer = on_answer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="liveness", daemon=True)

    def start(self) -> None:
        """Begin; the server has just answered."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch. A probe that is under way comes to nothing."""
        self._ended.set()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._ended.wait(self._interval):
            left = answered + self._timeout - time.monotonic()
            problem = ping(self._url, timeout=max(left, 0.05), verify=False)
            if self._ended.is_set():
                return
            if problem is None:
                answered = time.monotonic()
                self._on_answer()
            elif time.monotonic() >= answered + self._timeout:
                self._on_silent()
                return
