"""A stand-in for an OpenTelemetry collector: it takes OTLP over HTTP, and keeps the spans.

It parses with the protocol's own classes (opentelemetry-proto). `test_mlflow_traces.py` has a real
receiver in its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # type: ignore[import-untyped, unused-ignore]
    ExportTraceServiceRequest,
)

LONGEST = 30.0


class Span(NamedTuple):
    """A span that has been received; identifiers in hexadecimal digits, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    state: str


class Collector:
    """What has come; `status` is what it answers, `hold` makes it wait until it is set."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.hold: threading.Event | None = None
        self.url = ""
        self._changed = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep the spans of a request."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._changed:
            self.paths.append(path)
            self.headers.append(headers)
            if self.status == 200:
                self.spans.extend(_spans(request))
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[Span], bool], count: int = 1) -> list[Span]:
        """Wait until so many spans are as wanted."""
        deadline = time.monotonic() + LONGEST
        with self._changed:
            while True:
                found = [span for span in self.spans if wanted(span)]
                if len(found) >= count:
                    return found
                names = [span.name for span in self.spans]
                assert time.monotonic() < deadline, f"{len(found)} of {count} spans in {names}"
                self._changed.wait(0.5)

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many exports have come, whatever was answered."""
        deadline = time.monotonic() + LONGEST
        with self._changed:
            while len(self.paths) < count:
                assert time.monotonic() < deadline, f"{len(self.paths)} exports"
                self._changed.wait(0.5)

    def tree(self, trace_id: str) -> tuple[Span, dict[str, Span]]:
        """The server's span of a trace and its children by their names."""
        [server] = self.wait_for(lambda span: span.trace_id == trace_id and span.kind == 2)
        inner = [span for span in self.spans if span.parent_id == server.span_id]
        return server, {span.name: span for span in inner}


def _spans(request: Any) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    span.kind, span.start_time_unix_nano, span.end_time_unix_nano,
                    span.status.code, _values(span.attributes), resource, span.trace_state,
                )  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector while the block runs."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hold is not None:
                collector.hold.wait(LONGEST)
            collector.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        if collector.hold is not None:
            collector.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
