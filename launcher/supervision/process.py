"""One server process: its command, its pipes, its process group."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """What to run: ``argv`` starts with an absolute path; ``environ`` is complete.

    ``descriptors`` makes the arguments that hand down descriptors, from their numbers: the
    listening socket (None for a batch job), the status pipe, the lifeline. ``announces``: it says
    on the status pipe that it listens; else /ping is asked. ``drain_signal`` makes it finish its
    requests while another server has taken over.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    descriptors: Callable[[int | None, int, int], Sequence[str]]
    announces: bool = True
    drain_signal: int = signal.SIGTERM


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
        self.output, output = os.pipe()
        self.status, status = os.pipe()
        lifeline, self._lifeline = os.pipe()
        socket_fd = None if listening is None else listening.fileno()
        inherited = [fd for fd in (socket_fd, status, lifeline) if fd is not None]
        try:
            self._process = subprocess.Popen(
                [*command.argv, *command.descriptors(socket_fd, status, lifeline)],
                env=dict(command.environ),
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                pass_fds=inherited,
                start_new_session=True,
            )
        except BaseException:
            for end in (self.output, self.status, self._lifeline):
                os.close(end)
            raise
        finally:
            for end in (output, status, lifeline):
                os.close(end)
        os.set_blocking(self.output, False)
        os.set_blocking(self.status, False)
        self.started = time.monotonic()
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

    def read_status(self) -> list[dict[str, Any]] | None:
        """The status events that are there; None at the end of the pipe."""
        try:
            chunk = os.read(self.status, 65536)
        except BlockingIOError:
            return []
        if not chunk:
            return None
        *lines, self._status_rest = (self._status_rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Kill what is left of the group, reap the process, close the pipes."""
        self.kill_group()
        self._process.wait()
        for end in (self.output, self.status, self._lifeline):
            os.close(end)


def describe_exit(code: int) -> str:
    """'exited with code 1' or 'was killed by SIGSEGV'."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
