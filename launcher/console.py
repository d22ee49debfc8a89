"""What a person sees: steps with their times; on a terminal what is under way, too.

What goes on is told on standard error; standard output belongs to results. Writing never waits for
who reads: a pipe that nobody empties must not stop a launcher that serves.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Display

# So much may wait for a reader that is behind; older output is lost then.
_KEPT = 1 << 20
# A pipe or a terminal that can take anything takes so many bytes without making us wait.
_PIECE = 512


class _Stream:
    """Writes text to a descriptor, and never waits."""

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._lock = threading.RLock()
        self.problem: str | None = None

    def write(self, text: str) -> int:
        """Write what can be written at once; the rest waits for the next call."""
        with self._lock:
            self._waiting += text.encode(errors="replace")
            del self._waiting[:-_KEPT]
            self.flush()
        return len(text)

    def flush(self, within: float = 0.0) -> None:
        """Write what waits, as long as it is read within so many seconds.

        What cannot be written at all (a closed terminal, a full disk) is lost; see ``problem``.
        """
        with self._lock:
            try:
                while self._waiting and select.select([], [self._descriptor], [], within)[1]:
                    del self._waiting[: os.write(self._descriptor, self._waiting[:_PIECE])]
            except OSError as error:
                self._waiting.clear()
                self.problem = error.strerror


_OUTPUT, _ERRORS = _Stream(1), _Stream(2)
_shown: list[Progress] = []


def is_terminal() -> bool:
    """Whether a person may watch standard error."""
    return os.isatty(2)


def clear() -> None:
    """Take away what is shown as under way."""
    while _shown:
        _shown[-1].close()


@atexit.register
def _end() -> None:
    clear()
    for stream in (_OUTPUT, _ERRORS):
        stream.flush(within=1.0)


class Progress:
    """What is under way, with a clock and a bar, on a terminal; nothing elsewhere.

    :param text: what it is.
    :param total: the bytes that it takes; None where that is not known.
    :param shown: false to show nothing on a terminal either.
    """

    def __init__(self, text: str, total: int | None = None, *, shown: bool = True) -> None:
        self._display: Display | None = None
        if shown and is_terminal():
            self._display = _display(has_end=bool(total))
            self._task = self._display.add_task(text, total=total)
            self._display.start()
            _shown.append(self)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, count: int) -> None:
        """Count so many more bytes; a negative number takes some back. Any thread may."""
        if self._display is not None:
            self._display.advance(self._task, count)

    def show(self, text: str, done: int | None = None) -> None:
        """Show another text, and that so many bytes are done."""
        if self._display is not None:
            self._display.update(self._task, description=text, completed=done)

    def close(self) -> None:
        """Take it away."""
        if self._display is not None:
            self._display.stop()
            self._display = None
            _shown.remove(self)


def _display(*, has_end: bool) -> Display:
    # Here: only who sees it pays for the import.
    from rich import progress
    from rich.console import Console as Terminal

    columns: list[progress.ProgressColumn] = [
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
    ]
    if has_end:
        columns += [progress.BarColumn(bar_width=30), progress.DownloadColumn()]
    columns.append(progress.TimeElapsedColumn())
    return progress.Progress(
        *columns,
        console=Terminal(file=_ERRORS, force_terminal=True),  # type: ignore[arg-type]
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _titled(name: str, value: str, *, bold: bool) -> str:
    title = f"{name + ':':<6}"
    if bold and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        title = f"\x1b[1m{title}\x1b[0m"
    return f"{title} {value}"


def utc_clock() -> str:
    """The time as every log has it: 2026-01-02T03:04:05.678Z."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e3):03d}Z"


def _json_line(event: str, level: str, message: str, **more: str) -> str:
    import json

    entry = {"time": utc_clock(), "event": event, "level": level, "message": message, **more}
    return json.dumps(entry) + "\n"


def as_json_line(line: bytes) -> bytes:
    """A line that a server printed, as an object of the log; one that is one stays as it is."""
    import json

    try:
        if line.startswith(b"{") and isinstance(json.loads(line), dict):
            return line + b"\n"
    except (ValueError, RecursionError):
        pass
    return _json_line("output", "info", line.decode(errors="replace")).encode()


class Console:
    """Prints steps as they end, and on a terminal the one that is under way.

    :param quiet: print warnings and errors only.
    :param as_json: print each line as a JSON object.
    :param said: is told of each line as well: whether it is "info" or "warning", and its text.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        said: Callable[[str, str], None] | None = None,
    ) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._said = said
        self._terminal = is_terminal() and not as_json
        self._started = time.monotonic()
        self._warned = False

    def under_way(self, text: str) -> None:
        """Say what is being done; on a terminal the next line replaces it."""
        if self._terminal:
            self.advanced(text)
        elif not self._quiet:
            self._line("info", text)

    def advanced(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show on a terminal, and nowhere else, how far it is: bytes that are done, of all."""
        if self._terminal and not self._quiet:
            if not _shown:
                Progress(text, total)
            _shown[-1].show(text, done)

    def step(self, text: str) -> None:
        """Say what has been done, or what a person has to know."""
        if not self._quiet:
            clear()
            self._line("info", text)

    def warn(self, text: str) -> None:
        """Say what a person should mend."""
        clear()
        self._line("warning", text)

    def result(self, text: str) -> None:
        """Print a line of standard output; where that is closed or full, warn once and go on."""
        clear()
        _OUTPUT.write(f"{text}\n")
        if _OUTPUT.problem is not None and not self._warned:
            self._warned = True
            self.warn(f"standard output cannot be written: {_OUTPUT.problem}")

    def server_output(self, chunk: bytes) -> None:
        """Show what the server printed, as it is (see `ServerLog`, which makes JSON of it)."""
        clear()
        _ERRORS.write(chunk.decode(errors="replace"))

    def ready(self, url: str, facts: Sequence[tuple[str, str]] = (), ending: str = "") -> None:
        """Say that a server is ready: a stable line, on a terminal with more below it.

        :param facts: what else a person wants to know then: names and values.
        :param ending: how to stop it, for a terminal.
        """
        if self._as_json:
            clear()
            _OUTPUT.write(_json_line("ready", "info", f"ready: {url}", url=url, **dict(facts)))
            return
        is_watched = self._terminal and os.isatty(1)
        self.result(_titled("ready", url, bold=is_watched))
        more = [*facts, ("stop", ending)] if ending else facts
        for name, value in more:
            if is_watched or name == "try":
                self.result(_titled(name, value, bold=is_watched))

    def flush(self) -> None:
        """Show what could not be shown when it came, as far as it is read now."""
        _ERRORS.flush()

    def _line(self, level: str, text: str) -> None:
        if self._said is not None:
            self._said(level, text)
        if self._as_json:
            _ERRORS.write(_json_line("launcher", level, text))
        else:
            warning = "warning: " if level == "warning" else ""
            _ERRORS.write(f"{self._clock()} {warning}{text}\n")

    def _clock(self) -> str:
        return f"[{time.monotonic() - self._started:6.2f} s]"
