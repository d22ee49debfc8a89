"""Commands of a build: they end with the launcher, whatever ends that."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from envs.building.environ import clean_environ
from envs.building.log import BuildLog

GUARD = Path(__file__).with_name("guard.py")
GRACE = 1.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Completed:
    """A command that ended: exit code (128 + N for signal N), the lines it printed."""

    returncode: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class GuardedProcess:
    """A running command whose process group dies with this process, however that ends.

    Use as a context manager: leaving it, by an exception from a signal handler as well, stops
    the command and waits for its end. Standard output and error go to the log, unless
    ``stdout`` (an open file) is given for the former.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        log: BuildLog,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdout: int | None = None,
    ):
        self.log = log
        log.write("$ " + " ".join(str(part) for part in command))
        reading, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD, str(reading), str(GRACE), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.STDOUT if stdout is None else subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
                pass_fds=[reading],
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reading)

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def wait(self, on_line: Callable[[str], None] | None = None) -> Completed:
        """Wait for the end; ``on_line`` gets each line as it is logged."""
        stream = self._process.stdout or self._process.stderr
        assert stream is not None
        lines = []
        for raw in stream:
            line = self.log.write(raw.decode(errors="replace"))
            lines.append(line)
            if on_line is not None:
                on_line(line)
        return Completed(self._process.wait(), tuple(lines))

    def stop(self) -> None:
        """End the command (SIGTERM, then SIGKILL) where it still runs, and wait for that."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self._process.wait(GRACE + 5)
        except subprocess.TimeoutExpired:  # not even SIGKILL ended it: stuck in the kernel
            self._process.kill()
            self._process.wait()
        except BaseException:  # a second interrupt: the guard still needs its moment
            self._process.wait(GRACE + 5)
            raise
        finally:
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: BuildLog,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a guarded command to its end; output goes to the log and into the result.

    ``stdout`` (a descriptor or ``subprocess.DEVNULL``) sends standard output elsewhere.
    """
    with GuardedProcess(
        command, log=log, env=env or clean_environ(), cwd=cwd, stdout=stdout
    ) as process:
        return process.wait(on_line)


def read_output(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: BuildLog,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a guarded command; return its exit code and standard output. Errors go to the log."""
    with tempfile.TemporaryFile() as file:
        with GuardedProcess(
            command, log=log, env=env or clean_environ(), stdout=file.fileno()
        ) as process:
            code = process.wait().returncode
        file.seek(0)
        return code, file.read().decode(errors="replace")
