"""Become a program that ends with the launcher. A script, never imported.

Usage: ``PYTHON -I -S tied.py LIFELINE COMMAND...``. For programs that know of no lifeline. LIFELINE
is the read end of a pipe whose write end only the launcher holds: its end means that the launcher
is gone, however it died, and the whole process group is then killed, workers that ignore SIGTERM
included. Whoever watches it does so without the program, so that one that is stopped or busy ends
as well; COMMAND takes this process over.
"""

import fcntl
import os
import select
import signal
import sys

# linux/fcntl.h; the fcntl module has it from CPython 3.13 on.
F_SETSIG = 10


def have_the_kernel_watch(lifeline: int) -> None:
    """Have the pipe's end send SIGKILL to this process group; it outlasts exec (see fcntl(2))."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it may have ended before it was watched
        os.killpg(0, signal.SIGKILL)


def have_a_process_watch(lifeline: int) -> None:
    """Elsewhere than on Linux: a process beside the program, of the same group."""
    if os.fork() == 0:
        select.select([lifeline], [], [])
        os.killpg(0, signal.SIGKILL)


def main(lifeline: int, command: list[str]) -> None:
    if sys.platform.startswith("linux"):
        have_the_kernel_watch(lifeline)
    else:
        have_a_process_watch(lifeline)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
