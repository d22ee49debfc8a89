"""``serve --detach``: a launcher in the background, and a foreground that waits for readiness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from envs.disk.home import make_private_folder
from launcher import errors
from launcher.console import Console
from launcher.errors import LauncherError, ServerNotReadyError
from launcher.supervision.log import TAIL_LINES
from launcher.supervision.stop_signals import StopRequested, stop_requests_raise

# Of failures that are no LauncherError: click's, those of envs.
_BY_EXIT_CODE = {2: errors.UsageError, 3: errors.EnvironmentBuildError}


class BackgroundLauncher:
    """``launcher ARGUMENTS`` in a session of its own: no terminal's Ctrl-C reaches it.

    :param stdout: a descriptor, or what `subprocess` has for one; ``stderr`` likewise.
    :param lifeline: the read end of a pipe whose end stops it; None: it outlives this process.
    """

    def __init__(
        self, arguments: list[str], *, stdout: int, stderr: int | None, lifeline: int | None = None
    ) -> None:
        outcome, theirs = os.pipe()
        self._outcome = os.fdopen(outcome, "rb")
        options = ["--outcome-fd", str(theirs)]
        if lifeline is not None:
            options += ["--lifeline-fd", str(lifeline)]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "launcher", *options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[theirs, *([] if lifeline is None else [lifeline])],
                start_new_session=True,
            )
        except BaseException:
            self._outcome.close()
            raise
        finally:
            os.close(theirs)

    def outcome(
        self, said: Callable[[str, str], None] = lambda _level, _text: None
    ) -> dict[str, Any] | None:
        """Wait until it says that it serves, and what; None: it has ended, or was stopped.

        :param said: is told what it says until then: whether it is "info" or "warning", and a text.
        :raises LauncherError: what it failed with; it has ended then.
        """
        told: dict[str, Any] = {}
        with self._outcome as lines:
            for line in lines:
                told = json.loads(line)
                if "text" not in told:
                    break
                said(told["level"], told["text"])
            else:
                return None
        if "failure" not in told:
            return told
        self.process.wait()
        code = told["exit_code"]
        kind = getattr(errors, told["kind"] or "", _BY_EXIT_CODE.get(code, LauncherError))
        log = None if told["log"] is None else Path(told["log"])
        error: LauncherError = kind(told["failure"], told["hint"], log_path=log)
        error.exit_code = code
        raise error


def start_in_background(arguments: list[str], log: Path, console: Console) -> None:
    """Start ``launcher ARGUMENTS`` in the background and return once it is ready.

    :param arguments: the command line, without ``--detach``.
    :param log: takes its output.
    :raises LauncherError: what the launcher in the background failed with.
    """
    with log_for_output(log) as output:
        started = BackgroundLauncher(
            [*arguments, "--log-file", str(log)], stdout=output, stderr=output
        )
    process = started.process
    console.under_way(f"starting in the background, log: {log}")
    try:
        with stop_requests_raise():
            told = started.outcome()
    except StopRequested:
        process.terminate()
        process.wait()
        raise
    except LauncherError as error:
        if error.exit_code == ServerNotReadyError.exit_code:
            _print_tail(log)
        error.log_path = log
        raise
    if told is None:
        code = process.wait()
        _print_tail(log)
        raise ServerNotReadyError(f"The launcher ended with code {code}.", log_path=log)
    console.result(f"ready: {told['url']}")
    console.result(f"name:  {told['name']}")
    console.result(f"pid:   {process.pid}")
    console.result(f"log:   {log}")


@contextlib.contextmanager
def log_for_output(log: Path) -> Iterator[int]:
    """A descriptor that appends to a log, within the block; its folder is made."""
    make_private_folder(log.parent)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield output
    finally:
        os.close(output)


def last_lines(log: Path, count: int | None = TAIL_LINES) -> str:
    """The end of a log; None: all of it."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines if count is None else lines[len(lines) - min(count, len(lines)) :])


def _print_tail(log: Path) -> None:
    print(last_lines(log), file=sys.stderr)


class Outcome:
    """The other end: says how a start goes on, and once how it came out.

    :param descriptor: the pipe's write end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()

    def said(self, level: str, text: str) -> None:
        """A line for whoever waits."""
        self._tell({"level": level, "text": text}, is_end=False)

    def ready(self, url: str, name: str) -> None:
        """It serves, under that name."""
        self._tell({"url": url, "name": name})

    def failed(self, error: Exception, message: str, hint: str | None, exit_code: int) -> None:
        """It will not serve, or not do what else it was asked for."""
        log = getattr(error, "log_path", None)
        known = (each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        self._tell(
            {
                "failure": message,
                "hint": hint,
                "exit_code": exit_code,
                "kind": next((each.__name__ for each in known), None),
                "log": None if log is None else str(log),
            }
        )

    def _tell(self, content: dict[str, Any], *, is_end: bool = True) -> None:
        with self._lock:
            if self._descriptor is None:
                return
            # Where who waited has gone, the launcher serves all the same.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._descriptor, json.dumps(content).encode() + b"\n")
            if is_end:
                os.close(self._descriptor)
                self._descriptor = None
