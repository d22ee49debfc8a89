"""``serve --detach``: a launcher in the background, and a foreground that waits for readiness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from envs.disk.home import make_private_folder
from launcher.console import Console
from launcher.errors import LauncherError, ServerNotReadyError
from launcher.supervision.stop_signals import StopRequested, stop_requests_raise

_TAIL = 20


def start_in_background(arguments: list[str], log: Path, console: Console) -> None:
    """Start ``launcher ARGUMENTS`` in the background and return once it is ready.

    :param arguments: the command line, without ``--detach``.
    :param log: takes its output.
    :raises LauncherError: what the launcher in the background failed with.
    """
    make_private_folder(log.parent)
    outcome, theirs = os.pipe()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "launcher", *arguments),
                *("--log-file", str(log), "--outcome-fd", str(theirs)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs],
            start_new_session=True,
        )
    finally:
        os.close(theirs)
        os.close(output)
    console.under_way(f"starting in the background, log: {log}")
    try:
        with stop_requests_raise(), os.fdopen(outcome, "rb") as lines:
            line = lines.readline()
    except StopRequested:
        process.terminate()
        process.wait()
        raise
    if not line:
        code = process.wait()
        _print_tail(log)
        raise ServerNotReadyError(f"The launcher ended with code {code}.", log_path=log)
    told = json.loads(line)
    if "failure" in told:
        process.wait()
        if told["exit_code"] == ServerNotReadyError.exit_code:
            _print_tail(log)
        error = LauncherError(told["failure"], told["hint"], log_path=log)
        error.exit_code = told["exit_code"]
        raise error
    console.result(f"ready: {told['url']}")
    console.result(f"name:  {told['name']}")
    console.result(f"pid:   {process.pid}")
    console.result(f"log:   {log}")


def _print_tail(log: Path) -> None:
    tail = log.read_text(errors="replace").splitlines()[-_TAIL:]
    print("\n".join(tail), file=sys.stderr)


class Outcome:
    """The background's end: says once how the start came out.

    :param descriptor: the pipe's write end, or None where nobody waits.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def ready(self, url: str, name: str) -> None:
        """It serves, under that name."""
        self._tell({"url": url, "name": name})

    def failed(self, error: LauncherError) -> None:
        """It will not serve."""
        self._tell({"failure": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def _tell(self, content: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        # Where who waited has gone, the launcher serves all the same.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, json.dumps(content).encode() + b"\n")
        os.close(self._descriptor)
        self._descriptor = None
