"""The access log: one line a request, as text or JSON, on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import select
import time
from typing import Any, Dict, List, Optional

from ..config import ServerSettings
from .request import PendingRequest

_FLUSH_SECONDS = 0.05
# POSIX: a write of this much to a pipe that polls as writable does not block.
_PIECE = select.PIPE_BUF
# Of requests that are refused before anybody has looked for their token, lines a second.
_UNKNOWN_A_SECOND = 10


class AccessLog:
    """Notes requests; without `access_log` only the slow ones and the server's own failures.

    A reader that does not keep up costs lines, which are counted, never a request its time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ServerSettings, descriptor: int = 1
    ) -> None:
        self._loop = loop
        self._all = settings.access_log
        self._json = settings.log_format == "json"
        self._slow = settings.slow_request
        self._descriptor = descriptor
        self._lines: List[bytes] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self._dropped = 0
        self._unknown = 0
        self._unknown_since = 0.0

    def note(self, request: PendingRequest, now: float) -> None:
        """Note a request that has been answered at `now` (`time.monotonic()`)."""
        seconds = now - request.arrived
        is_slow = self._slow is not None and seconds >= self._slow
        if not (self._all or is_slow or request.status >= 500):
            return
        if not request.is_known and self._is_one_too_many(now):
            return
        fields = self._fields(request, seconds, is_slow)
        self._lines.append(self._line(json.dumps(fields) if self._json else _as_text(fields)))
        if self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self.flush)

    def _is_one_too_many(self, now: float) -> bool:
        """Whether to leave a line out, so that strangers cannot fill the disk with them."""
        if now >= self._unknown_since + 1:
            left_out = self._unknown - _UNKNOWN_A_SECOND
            self._unknown_since, self._unknown = now, 0
            if left_out > 0:
                self._lines.append(self._remark(left_out, "refused requests were not logged."))
        self._unknown += 1
        return self._unknown > _UNKNOWN_A_SECOND

    def _remark(self, count: int, text: str) -> bytes:
        """A line of the log's own."""
        if not self._json:
            return self._line("{} {} {}".format(_timestamp(), count, text))
        fields = {"time": _timestamp(), "event": "log", "message": text, "count": count}
        return self._line(json.dumps(fields))

    @staticmethod
    def _line(text: str) -> bytes:
        return text.encode("utf-8", "replace")[: _PIECE - 1] + b"\n"

    @staticmethod
    def _fields(request: PendingRequest, seconds: float, is_slow: bool) -> Dict[str, Any]:
        fields: Dict[str, Any] = {
            "time": _timestamp(),
            "event": "request",
            "client": request.client.peer[0],
            "method": request.head.method,
            "path": request.head.path[:200],
            "status": request.status,
            "seconds": round(seconds, 6),
            "bytes": request.sent,
            "request_id": request.request_id,
        }
        if request.traceparent:
            fields["traceparent"] = request.traceparent
        if request.trace is not None:
            fields["trace_id"] = request.trace.trace_id
        if request.worker is not None:
            fields["worker"] = request.worker.pid
        if request.dispatched is not None:
            fields["waited"] = round(request.dispatched - request.arrived, 6)
        for stage, took, _ in request.stages:
            fields[stage] = round(fields.get(stage, 0.0) + took, 6)
        if is_slow:
            fields["slow"] = True
        return fields

    def flush(self) -> None:
        """Write what has been noted, as far as that does not block."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.insert(0, self._remark(self._dropped, "lines of the access log were dropped."))
        piece = b""
        for number, line in enumerate(lines):
            if len(piece) + len(line) > _PIECE:
                if not self._write(piece):
                    self._dropped += len(lines) - number
                    return
                piece = b""
            piece += line
        if piece and self._write(piece):
            self._dropped = 0

    def _write(self, piece: bytes) -> bool:
        try:
            if not select.select([], [self._descriptor], [], 0)[1]:
                return False
            os.write(self._descriptor, piece)
        except (OSError, ValueError):
            # Closed, or its disk is full: as if nobody read it.
            return False
        return True


def _timestamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)


def _as_text(fields: Dict[str, Any]) -> str:
    """'2026-01-02T03:04:05.678Z 127.0.0.1 "POST /invocations" 200 0.0012s ... id=...'."""
    # In quotes and escaped, should it have quotes or control characters.
    line = json.dumps("{method} {path}".format(**fields))
    known = ("time", "event", "client", "method", "path", "status", "seconds", "slow")
    rest = " ".join(
        "{}={}".format(name, value) for name, value in fields.items() if name not in known
    )
    slow = " SLOW" if fields.get("slow") else ""
    return (
        "{time} {client} {line} {status} {seconds:.6f}s".format(line=line, **fields)
        + slow
        + (" " + rest)
    )
