"""A bound on the memory that a piece of work may take, kept by the kernel."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

_STATM = Path("/proc/self/statm")
_PAGE = resource.getpagesize()


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Within the block this process may take ``more`` bytes beyond what it has now.

    What libraries allocate counts as well (RLIMIT_DATA, see getrlimit(2)): beyond the bound an
    allocation fails, which Python and most libraries tell by ``MemoryError``; a library that
    aborts instead ends the process. All threads of the process share the bound. Nothing is
    bounded where the system is not Linux.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # proc(5): the sixth field is data and stack, in pages.
    bound = int(_STATM.read_bytes().split()[5]) * _PAGE + more
    if soft != resource.RLIM_INFINITY and soft < bound:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
