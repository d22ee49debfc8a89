"""The pipe on which servers tell of their requests, and the thread that exports spans of them."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from launcher.tracing.target import TraceTarget, sampling
from scoring_server.tracing.records import LONGEST, RequestRecord, decode

if TYPE_CHECKING:
    from launcher.tracing.export import SpanExport

# What has been told and not been exported when the launcher stops gets this long, in seconds.
_STOP_SECONDS = 2.0
# Bytes that wait for the launcher; more of it is dropped by the server, and counted there.
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031


class TraceChannel:
    """Takes what servers tell of requests, the first, those after a crash and those of a reload.

    Nothing of it can hold a server up: its end of the pipe does not block.

    :param is_https: whether requests come by https.
    :param warn: called with one line, from any thread.
    :raises OSError: there are no descriptors left.
    """

    def __init__(self, target: TraceTarget, *, is_https: bool, warn: Callable[[str], None]) -> None:
        self._target = target
        self._scheme = "https" if is_https else "http"
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._ends = ExitStack()
        self._told, self._tells = self._pipe()
        self._woken, self._wakes = self._pipe()
        os.set_blocking(self._tells, False)
        if sys.platform == "linux":
            import fcntl

            with contextlib.suppress(OSError):  # more than this user may have
                fcntl.fcntl(self._tells, _F_SETPIPE_SZ, _PIPE_SIZE)
        self.settings: dict[str, Any] = {"descriptor": self._tells, **sampling(warn)}

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            self._ends.callback(os.close, end)
        return ends

    def start(self, name: str) -> None:
        """Export from now on.

        :param name: the service's, where OpenTelemetry's variables give it no other.
        """
        self._thread = threading.Thread(target=self._run, args=(name,), name="traces", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Export what has been told, for no longer than `_STOP_SECONDS`."""
        if self._thread is not None:
            os.write(self._wakes, b"\0")
            self._thread.join(_STOP_SECONDS)
            if self._thread.is_alive():
                self._warn(f"the last traces could not be delivered to {self._target.url} in time")
                return  # it may read the pipe
        self._ends.close()

    def _run(self, name: str) -> None:
        export: SpanExport | None = None
        rest = b""
        while True:
            readable = select.select([self._told, self._woken], [], [])[0]
            if self._told not in readable:
                break
            *lines, rest = (rest + os.read(self._told, 1 << 16)).split(b"\n")
            rest = rest[-LONGEST:]
            for record in self._records(lines):
                if export is None:
                    # Some tenths of a second: neither the start nor a server without requests
                    # has them.
                    from launcher.tracing.export import SpanExport

                    export = SpanExport(self._target.url, name, self._scheme, self._warn)
                export.take(record)
        if export is not None:
            export.close()

    def _records(self, lines: list[bytes]) -> list[RequestRecord]:
        records = []
        for line in lines:
            # What is none is no server's of ours: a record says nothing that is missed.
            with contextlib.suppress(ValueError):
                records.append(decode(line))
        return records
