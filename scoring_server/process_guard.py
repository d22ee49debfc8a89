"""Ties a server process to the launcher: neither it nor what it started outlives the launcher."""

import ctypes
import os
import select
import signal
import sys
import threading
from typing import Optional

# linux/prctl.h
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends (Linux only).

    Elsewhere the lifeline alone does the work.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Lifeline:
    """Watches a pipe whose write end only the launcher holds.

    The end of that pipe means that the launcher is gone, however it died. The whole process
    group is then killed: workers, and whatever the model's code has started.

    :param descriptor: the pipe's read end; None where there is no launcher (an image, say), and
        then nothing is watched.
    """

    def __init__(self, descriptor: Optional[int]) -> None:
        self._descriptor = descriptor
        self._thread = None  # type: Optional[threading.Thread]
        self._stop_pipe = None  # type: Optional[tuple]

    def start(self) -> None:
        """Watch from a thread of this process. A fork does not inherit the watch."""
        if self._descriptor is None:
            return
        self._stop_pipe = os.pipe()
        self._thread = threading.Thread(
            target=self._watch, args=(self._stop_pipe[0],), name="lifeline", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the watch, so that a fork finds no second thread in this process."""
        if self._thread is None or self._stop_pipe is None:
            return
        os.close(self._stop_pipe[1])
        self._thread.join()
        os.close(self._stop_pipe[0])
        self._thread = None
        self._stop_pipe = None

    def _watch(self, stop: int) -> None:
        readable, _, _ = select.select([self._descriptor, stop], [], [])
        if stop not in readable:
            os.killpg(os.getpgrp(), signal.SIGKILL)
