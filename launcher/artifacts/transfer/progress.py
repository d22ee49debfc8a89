"""A progress bar for a transfer, on a terminal and nowhere else."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from launcher.artifacts.source import Report, silent

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


class Progress:
    """Counts bytes from any thread; draws a bar when somebody can see it."""

    def __init__(self, total: int, report: Report) -> None:
        self._lock = threading.Lock()
        self._bar: ProgressBar[int] | None = None
        if report is not silent and total and sys.stderr.isatty():
            import click

            self._bar = click.progressbar(length=total, label="Fetching", file=sys.stderr)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def add(self, count: int) -> None:
        """Count `count` more bytes; a negative number takes some back."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(count)
