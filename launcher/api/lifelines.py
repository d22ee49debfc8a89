"""What ties a launcher to the process that started it."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress


class Lifeline:
    """A pipe whose end tells a launcher to stop, however this process has ended.

    ``theirs`` is the read end, for the launcher. A process that is forked off this one lets go of
    the other end, so that it cannot keep the launcher running; programs never get it.
    """

    def __init__(self) -> None:
        self.theirs, ours = os.pipe()
        self._ours: int | None = ours
        _open.add(self)

    def started(self) -> None:
        """The launcher has its end."""
        if self.theirs >= 0:
            os.close(self.theirs)
        self.theirs = -1

    def cut(self) -> None:
        """Tell the launcher to stop. By a word: whatever else may hold the pipe open."""
        self.started()
        ours, self._ours = self._ours, None
        if ours is not None:
            with suppress(BrokenPipeError):
                os.write(ours, b".")
            os.close(ours)

    def _let_go(self) -> None:
        self.started()
        ours, self._ours = self._ours, None
        if ours is not None:
            os.close(ours)


_open: weakref.WeakSet[Lifeline] = weakref.WeakSet()


def _in_child() -> None:
    for each in _open:
        each._let_go()


os.register_at_fork(after_in_child=_in_child)
