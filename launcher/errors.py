"""The failures a person can meet, each with its exit code."""

from __future__ import annotations

from pathlib import Path


class LauncherError(Exception):
    """One line that says what is wrong, one that says what to do, and where the log is.

    :param message: what is wrong, one line.
    :param hint: what to do about it, one line, or None.
    :param log_path: a log that tells more, or None.

    ``log_end``: the last lines of that log, where who meets the failure has no terminal to see it.
    """

    exit_code = 1

    def __init__(
        self, message: str, hint: str | None = None, *, log_path: Path | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log_path = log_path
        self.log_end = ""

    def __str__(self) -> str:
        said = f"{self.message} {self.hint}" if self.hint else self.message
        return f"{said}\nThe end of {self.log_path}:\n{self.log_end}" if self.log_end else said


class UsageError(LauncherError):
    """Options that cannot be meant together, a taken port, an unreadable input."""

    exit_code = 2


class ModelError(LauncherError):
    """The model cannot be read: no MLmodel, not YAML, no flavor that can be served."""

    exit_code = 2


class EnvironmentBuildError(LauncherError):
    """The model's environment could not be built."""

    exit_code = 3


class ServerNotReadyError(LauncherError):
    """The server ended, or did not answer /ping, before it was ready."""

    exit_code = 4


class ServerCrashedError(LauncherError):
    """The server keeps crashing, or crashed and is not to be restarted."""

    exit_code = 5
