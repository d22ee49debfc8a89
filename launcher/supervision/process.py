"""One server process: its command, its pipes, its process group."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

# Bytes of a line on the status pipe: the longest is a traceback. A model may write there, too.
_LONGEST_STATUS = 1 << 20
_TIED = Path(__file__).with_name("tied.py")


class Command(NamedTuple):
    """What to run: ``argv`` starts with an absolute path; ``environ`` is complete.

    ``descriptors`` makes the arguments that hand down descriptors, from their numbers: the
    listening socket (None for a batch job), the status pipe, the lifeline. It is None for a
    program that knows of none: that binds the port itself, and is ready once it answers; it is tied
    to the launcher from outside. ``folder`` is where it runs, None for the launcher's own.
    ``ping_path`` answers 200 while it is well. ``drain_signal`` makes it finish its requests while
    another server has taken over; ``side_by_side``: another one can do so. ``inherited``
    are further descriptors that it gets by their numbers.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    descriptors: Callable[[int | None, int, int], Sequence[str]] | None = None
    folder: Path | None = None
    ping_path: str = "/ping"
    drain_signal: int = signal.SIGTERM
    side_by_side: bool = False
    inherited: tuple[int, ...] = ()


class ServerProcess:
    """A running server, in a process group and session of its own.

    :param command: what to run.
    :param listening: the bound socket to hand down, or None.
    :raises OSError: it cannot be started.

    ``output`` and ``status`` are the read ends of its pipes, not blocking. Start it from the main
    thread: on Linux the server dies with the thread that started it.
    """

    def __init__(
        self,
        command: Command,
        listening: socket.socket | None,
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            self.output, output = _pipe(ours, theirs)
            self.status, status = _pipe(ours, theirs)
            lifeline, self._lifeline = _pipe(theirs, ours)
            argv = list(command.argv)
            inherited = [lifeline]
            if command.descriptors is not None:
                socket_fd = None if listening is None else listening.fileno()
                argv += command.descriptors(socket_fd, status, lifeline)
                inherited = [fd for fd in (socket_fd, status, lifeline) if fd is not None]
            else:
                argv = [sys.executable, "-I", "-S", str(_TIED), str(lifeline), *argv]
                if listening is not None:
                    # Bound without listening, ours keeps the port for a program that binds it, too.
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._process = subprocess.Popen(
                argv,
                cwd=command.folder,
                env=dict(command.environ),
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                pass_fds=[*inherited, *command.inherited],
                start_new_session=True,
            )
            self._ends = ours.pop_all()
        os.set_blocking(self.output, False)
        os.set_blocking(self.status, False)
        self._status_rest = b""

    @property
    def pid(self) -> int:
        """Its process id, also that of its process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs. Reaps it."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end."""
        return self._process.wait()

    def send_signal(self, signum: int) -> None:
        """Send a signal to the server process alone, which knows its workers."""
        self._process.send_signal(signum)

    def kill_group(self) -> None:
        """Kill whatever is left of its process group: the server and all that it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def read_output(self) -> bytes | None:
        """The output that is there; b'' at its end, None for nothing yet."""
        try:
            return os.read(self.output, 65536)
        except BlockingIOError:
            return None

    def read_status(self) -> list[bytes] | None:
        """The lines on the status pipe that are there; None at the end of the pipe."""
        try:
            chunk = os.read(self.status, 65536)
        except BlockingIOError:
            return []
        if not chunk:
            return None
        *lines, self._status_rest = (self._status_rest + chunk).split(b"\n")
        if len(self._status_rest) > _LONGEST_STATUS:
            lines.append(self._status_rest)
            self._status_rest = b""
        return lines

    def close(self) -> None:
        """Kill what is left of the group, reap the process, close the pipes."""
        self.kill_group()
        self._process.wait()
        self._ends.close()


def _pipe(reads: ExitStack, writes: ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with these."""
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


def describe_exit(code: int) -> str:
    """'exited with code 1' or 'was killed by SIGSEGV'."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
