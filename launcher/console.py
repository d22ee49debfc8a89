"""What a person sees: the steps with their times on a terminal, plain lines elsewhere.

Everything goes to standard error; standard output belongs to results.
"""

from __future__ import annotations

import contextlib
import sys
import time


class Console:
    """Prints steps as they end, and on a terminal the one that is under way.

    :param quiet: print errors only.
    :param as_json: print each line as a JSON object.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._terminal = sys.stderr.isatty() and not as_json
        self._started = time.monotonic()
        self._transient = False

    def under_way(self, text: str) -> None:
        """Say what is being done; on a terminal the next line replaces it."""
        if self._quiet:
            return
        if self._terminal:
            self._write(f"\r\x1b[2K\x1b[2m{self._clock()} {text} …\x1b[0m")
            self._transient = True
        else:
            self._line("info", text)

    def step(self, text: str) -> None:
        """Say what has been done, or what a person has to know."""
        if not self._quiet:
            self.clear()
            self._line("info", text)

    def warn(self, text: str) -> None:
        """Say what a person should mend."""
        self.clear()
        self._line("warning", text)

    def server_output(self, chunk: bytes) -> None:
        """Show what the server printed, as it is."""
        self.clear()
        self._write(chunk.decode(errors="replace"))

    def clear(self) -> None:
        """Take a transient line away."""
        if self._transient:
            self._write("\r\x1b[2K")
            self._transient = False

    def _line(self, level: str, text: str) -> None:
        if self._as_json:
            import json

            now = time.time()
            clock = (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{now % 1 * 1e3:03.0f}Z"
            )
            entry = {"time": clock, "event": "launcher", "level": level, "message": text}
            self._write(json.dumps(entry) + "\n")
        else:
            warning = "warning: " if level == "warning" else ""
            self._write(f"{self._clock()} {warning}{text}\n")

    def _clock(self) -> str:
        return f"[{time.monotonic() - self._started:6.2f} s]"

    @staticmethod
    def _write(text: str) -> None:
        # A closed terminal or a full disk behind it is no reason to stop serving.
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
