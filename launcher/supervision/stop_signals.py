"""SIGINT and SIGTERM while no server runs yet: they unwind the work that is under way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(BaseException):
    """Raised in the main thread when the launcher is told to stop.

    It is no Exception, so that nothing that handles failures takes it for one.

    :param signum: the signal that asked for it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextmanager
def stop_requests_raise() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP raise StopRequested in the main thread.

    Only the first one does: what unwinds is not to be interrupted again.
    """

    def stop(signum: int, _frame: FrameType | None) -> None:
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise StopRequested(signum)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def stop_with(lifeline: int) -> None:
    """Have this process told to stop when a pipe has ended, or something was written to it.

    :param lifeline: its read end; who started this process holds the other.
    """

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
