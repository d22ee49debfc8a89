"""What workers leave behind: processes that the model started, and that outlive their worker.

Linux alone tells of them; elsewhere they stay until the launcher ends the process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Container, Optional, Set

from .process import WORKER_VARIABLE

# linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_IS_LINUX = sys.platform.startswith("linux")


class Orphans:
    """Ends processes whose worker has ended."""

    def __init__(self) -> None:
        # What the model started as it was loaded, before the first fork, is for all workers.
        self._not_ours: Set[int] = _children()

    def adopt(self) -> None:
        """Become the parent of what workers leave behind, in place of process 1."""
        if _IS_LINUX:
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def reap(self, workers: Container[int], *, has_ended: bool) -> bool:
        """Kill those whose worker has ended, and reap those that have; whether any was killed.

        :param workers: the process ids of those that run.
        :param has_ended: whether a worker has just ended: then what names none is killed, too.
        """
        killed = False
        for pid in _children():
            if pid in self._not_ours or pid in workers:
                continue
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    continue
            worker = _worker_of(pid)
            if worker in workers or (worker is None and not has_ended):
                continue
            # One that has changed its user is not ours to end.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed = True
        return killed


def _children() -> Set[int]:
    """The process ids of this process's children (proc(5), /proc/PID/task/TID/children)."""
    found: Set[int] = set()
    if _IS_LINUX:
        for task in Path("/proc/self/task").iterdir():
            # A thread that ends just now; a kernel without CONFIG_PROC_CHILDREN.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.update(map(int, (task / "children").read_bytes().split()))
    return found


def _worker_of(pid: int) -> Optional[int]:
    """The worker that started a process, as far as its environment tells (none without exec)."""
    name = WORKER_VARIABLE.encode() + b"="
    try:
        for entry in Path("/proc/{}/environ".format(pid)).read_bytes().split(b"\0"):
            if entry.startswith(name):
                return int(entry[len(name) :])
    except (OSError, ValueError):
        # It has ended, belongs to another user, or has written there itself.
        return None
    return None
