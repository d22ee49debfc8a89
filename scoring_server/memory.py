"""A bound on the memory that a piece of work may take, kept by the kernel."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import contextmanager
from typing import Iterator, Optional

_IS_LINUX = sys.platform.startswith("linux")
_PAGE = resource.getpagesize()


@contextmanager
def at_most(more: int) -> Iterator[bool]:
    """Within the block this process may take `more` bytes beyond what it has now.

    What libraries allocate counts as well (RLIMIT_DATA, see getrlimit(2)): beyond the bound an
    allocation fails, which Python and most libraries tell by `MemoryError`; a library that
    aborts instead ends the process. All threads of the process share the bound. Nothing is
    bounded where the system is not Linux.

    :returns: whether it is this bound that holds: False where that of the process is tighter.
    """
    if not _IS_LINUX:
        yield True
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = _taken() + more
    if soft != resource.RLIM_INFINITY and soft < bound:
        yield False
        return
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield True
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def bound_process(more: int, pid: int = 0) -> None:
    """From now on a process may take `more` bytes beyond what it has now, as in `at_most`.

    :param pid: the process id of one of this user's; 0 for this process.
    """
    if _IS_LINUX:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        bounds = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
        bound = min([_taken(str(pid or "self")) + more, *bounds])
        resource.prlimit(pid, resource.RLIMIT_DATA, (bound, hard))


@contextmanager
def unbounded() -> Iterator[None]:
    """Within the block the process's own bound is lifted, to say that it has been met."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken(process: str = "self") -> int:
    """Bytes of a process's data; proc(5): the sixth field is data and stack, in pages."""
    # Of each large request: pathlib takes several times as long.
    file = os.open("/proc/{}/statm".format(process), os.O_RDONLY)
    try:
        return int(os.read(file, 256).split()[5]) * _PAGE
    finally:
        os.close(file)


def is_for_want_of_memory(error: Optional[BaseException]) -> bool:
    """Whether an error is a `MemoryError`, or was made of one."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None
