"""The trace that each request belongs to, and what the launcher is told of it.

W3C Trace Context: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from typing import Any, Dict, List, Optional

from ..config import ServerConfig, TraceSettings
from .records import LONGEST, RequestRecord, encode

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FLUSH_SECONDS = 0.05
# Lines that wait for the next write.
_MOST_LINES = 512
_SAMPLED = 1


class RequestTrace:
    """The trace of one request, and the span that stands for the request in it."""

    __slots__ = ("is_sampled", "parent_id", "span_id", "state", "trace_id")

    def __init__(
        self, trace_id: str, span_id: str, parent_id: str, state: str, is_sampled: bool
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.state = state
        self.is_sampled = is_sampled

    def below(self, headers: Dict[str, str]) -> Dict[str, str]:
        """The headers for those who work on the request: its span is the parent of theirs."""
        parent = "00-{}-{}-{:02x}".format(self.trace_id, self.span_id, self.is_sampled)
        return {**headers, "traceparent": parent}


class Tracer:
    """Decides on traces, and tells the launcher of requests that have been answered.

    Nothing here waits: what the launcher does not read in time is dropped, and counted in
    `dropped`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: TraceSettings, config: ServerConfig
    ) -> None:
        self._loop = loop
        self._descriptor: Optional[int] = settings.descriptor
        self._follows_parent = settings.follows_parent
        # As the SDK's TraceIdRatioBased: traces below it are sampled.
        self._bound = round(settings.ratio * (1 << 64))
        self._random = random.Random(os.urandom(16))
        self._model = config.model.served_names[0][:200]
        self._version = (config.model.version or "")[:200]
        self._uri = (config.model.uri or "")[:500]
        self._lines: List[bytes] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self.dropped = 0

    def begin(self, headers: Dict[str, str]) -> RequestTrace:
        """The trace of a request with these headers: its sender's, or a new one."""
        bits = self._random.getrandbits
        span_id = "{:016x}".format(bits(64) or 1)
        found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        if found is not None and _is_valid(*found.groups()):
            trace_id, parent_id = found.group(2), found.group(3)
            if self._follows_parent:
                is_sampled = bool(int(found.group(4), 16) & _SAMPLED)
            else:
                is_sampled = self._samples(trace_id)
            state = headers.get("tracestate", "")[:512]
            return RequestTrace(trace_id, span_id, parent_id, state, is_sampled)
        trace_id = "{:032x}".format(bits(128) or 1)
        return RequestTrace(trace_id, span_id, "", "", self._samples(trace_id))

    def _samples(self, trace_id: str) -> bool:
        return int(trace_id[16:], 16) < self._bound

    def finish(self, request: Any, now: float) -> None:
        """Tell of a request of the front's that has been answered at `now` (`time.monotonic()`)."""
        trace: RequestTrace = request.trace
        if not trace.is_sampled or self._descriptor is None:
            return
        epoch = time.time_ns() - int(now * 1e9)

        def at(moment: float) -> int:
            return epoch + int(moment * 1e9)

        stages = []
        if request.dispatched is not None:
            stages.append(("queue", at(request.arrived), at(request.dispatched)))
        for name, took, started in request.stages:
            stages.append((name, at(started), at(started + took)))
        if request.streamed is not None:
            stages.append(("stream", at(request.streamed), at(now)))
        head, route = request.head, request.match.route
        self._lines.append(
            encode(
                RequestRecord(
                    trace.trace_id, trace.span_id, trace.parent_id, trace.state,
                    head.method[:32], head.path[:500], "" if route is None else route.path,
                    request.status, at(request.began), at(now), stages,
                    request.request_id, request.client.peer[0], head.version, request.sent,
                    self._model, self._version, self._uri, head.headers.get("host", "")[:200],
                )
            )
        )  # fmt: skip
        if len(self._lines) >= _MOST_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits, as far as that does not block."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        piece: List[bytes] = []
        size = 0
        for line in lines:
            if size + len(line) > LONGEST:
                self._write(piece)
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            self._write(piece)

    def _write(self, lines: List[bytes]) -> None:
        try:
            if self._descriptor is not None:
                os.write(self._descriptor, b"".join(lines))
                return
        except BlockingIOError:
            pass  # the launcher is behind
        except OSError:
            # The launcher is gone, and the lifeline ends this process; or the model closed it.
            self._descriptor = None
        self.dropped += len(lines)


def _is_valid(
    version: str, trace_id: str, parent_id: str, _flags: str, more: Optional[str]
) -> bool:
    if version == "ff" or (version == "00" and more):
        return False
    return trace_id.strip("0") != "" and parent_id.strip("0") != ""
