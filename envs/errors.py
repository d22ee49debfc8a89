"""The one exception that leaves this package."""

from __future__ import annotations

from pathlib import Path


class EnvError(Exception):
    """An environment could not be described, found, built or removed.

    :param message: one line that says what is wrong, a sentence.
    :param hint: one line that says what to do, a sentence, or None.
    :param log_path: the log of the build that failed, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None, log_path: Path | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log_path = log_path

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message
