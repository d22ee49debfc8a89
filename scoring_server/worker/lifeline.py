"""Ties a server process to the launcher: neither it nor what it started outlives the launcher."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from typing import Optional, Tuple

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
# linux/fcntl.h; the fcntl module has it from CPython 3.13 on.
_F_SETSIG = 10

_IS_LINUX = sys.platform.startswith("linux")


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends (Linux only).

    Elsewhere the lifeline alone does the work.
    """
    if _IS_LINUX:
        # Not a part of what is imported before the lifeline is watched.
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def keep_from_children(*descriptors: Optional[int]) -> None:
    """Close inherited descriptors in whatever this process starts, our own workers included.

    A program that the model starts would otherwise hold the port when the server has ended. The
    worker's own ends of channels are no business of this.

    :param descriptors: the descriptors; None stands for one that was not given.
    """
    given = [each for each in descriptors if each is not None]
    files = {each: os.fstat(each)[1:3] for each in given}
    for descriptor in given:
        os.set_inheritable(descriptor, False)

    def close() -> None:
        for descriptor, file in files.items():
            # By now the number may be another file's.
            with contextlib.suppress(OSError):
                if os.fstat(descriptor)[1:3] == file:
                    os.close(descriptor)

    os.register_at_fork(after_in_child=close)


class Lifeline:
    """Watches a pipe whose write end only the launcher holds.

    The end of that pipe means that the launcher is gone, however it died. The whole process
    group is then killed: workers, and whatever the model's code has started.

    :param descriptor: the pipe's read end; None where there is no launcher (an image, say), and
        then nothing is watched.
    """

    def __init__(self, descriptor: Optional[int]) -> None:
        self._descriptor = descriptor
        self._thread: Optional[threading.Thread] = None
        self._stop_pipe: Optional[Tuple[int, int]] = None

    @property
    def descriptor(self) -> Optional[int]:
        """The pipe's read end, for a process that watches it in an event loop of its own."""
        return self._descriptor

    def start(self) -> None:
        """Watch: on Linux the kernel does it, elsewhere a thread of this process."""
        if self._descriptor is None:
            return
        if _IS_LINUX:
            self._have_the_kernel_watch(self._descriptor)
            return
        self._stop_pipe = os.pipe()
        self._thread = threading.Thread(
            target=self._watch, args=(self._stop_pipe[0],), name="lifeline", daemon=True
        )
        self._thread.start()

    @staticmethod
    def _have_the_kernel_watch(descriptor: int) -> None:
        """Have the pipe's end send SIGKILL to the process group.

        That needs nobody here to be able to run: it ends processes that are stopped, or busy in
        C code, as well. The setting belongs to the pipe, so forks need not repeat it. See
        fcntl(2), F_SETOWN and F_SETSIG.
        """
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
        # It may have ended before it was watched.
        if select.select([descriptor], [], [], 0)[0]:
            end_process_group()

    def stop(self) -> None:
        """End a thread's watch, so that a fork finds no second thread in this process."""
        if self._thread is None or self._stop_pipe is None:
            return
        os.close(self._stop_pipe[1])
        self._thread.join()
        os.close(self._stop_pipe[0])
        self._thread = None
        self._stop_pipe = None

    def _watch(self, stop: int) -> None:
        assert self._descriptor is not None
        readable, _, _ = select.select([self._descriptor, stop], [], [])
        if stop not in readable:
            end_process_group()


def end_process_group() -> None:
    """Kill this process and all of its group, as the launcher is gone."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
