"""As process 1 of a container the launcher inherits orphans; somebody has to reap them."""

from __future__ import annotations

import os
from collections.abc import Collection


def reap_inherited(own: Collection[int]) -> None:
    """Reap children that have ended and that this process did not start.

    :param own: the process ids of children whose exit codes somebody else waits for.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
