"""What reaches the supervisor's loop from outside: signals, and calls posted by threads."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Inbox:
    """Queues signals and calls, and makes a selector that watches it wake up for them."""

    def __init__(self) -> None:
        self._signals: deque[int] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that becomes readable when something is here."""
        return self._woken.fileno()

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop's thread run ``call``. Any thread may post."""
        self._calls.append(call)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            # Full of wake-ups that have not been read yet: one of them will do.
            return

    def take_calls(self) -> Iterator[Callable[[], None]]:
        """The calls that have been posted, oldest first."""
        while self._calls:
            yield self._calls.popleft()

    def take_signals(self) -> Iterator[int]:
        """The signals that have come, oldest first."""
        while self._signals:
            yield self._signals.popleft()

    def drain(self) -> None:
        """Read the wake-ups away."""
        self._woken.recv(4096)

    @contextmanager
    def signals_queued(self, signals: tuple[int, ...]) -> Iterator[None]:
        """Queue these signals within the block; their handlers do nothing else."""

        def queue(signum: int, _frame: FrameType | None) -> None:
            self._signals.append(signum)

        previous = {each: signal.signal(each, queue) for each in signals}
        previous_waker = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous_waker)
            for each, handler in previous.items():
                signal.signal(each, handler)

    def close(self) -> None:
        """Close its descriptors."""
        self._woken.close()
        self._waker.close()
