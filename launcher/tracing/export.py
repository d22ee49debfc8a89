"""Makes spans of requests, and has OpenTelemetry's SDK export them.

Names of attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from scoring_server.tracing.records import RequestRecord

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
# Spans that wait for the collector; the oldest go first.
_MOST_WAITING = 1 << 15


class SpanExport:
    """Exports the spans of requests, in the background and in batches.

    :param url: of the collector's receiver.
    :param name: the service's, where the variables give it no other.
    :param scheme: ``http`` or ``https``.
    :param warn: called with one line when the collector fails, and when it is there again.
    """

    def __init__(self, url: str, name: str, scheme: str, warn: Callable[[str], None]) -> None:
        self._scheme = scheme
        # What the environment says of the service comes last.
        named = Resource.create({"service.name": name}).merge(OTELResourceDetector().detect())
        self._resource = named
        self._scope = InstrumentationScope("launcher")
        most = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or _MOST_WAITING)
        self._processor = BatchSpanProcessor(
            _SaidOnce(OTLPSpanExporter(endpoint=url), url, warn), max_queue_size=most
        )

    def take(self, record: RequestRecord) -> None:
        """Have the spans of a request exported; never waits."""
        trace_id = int(record.trace_id, 16)
        state = TraceState.from_header([record.state]) if record.state else None
        context = _context(trace_id, int(record.span_id, 16), state)
        parent = None
        if record.parent_id:
            parent = _context(trace_id, int(record.parent_id, 16), state, is_remote=True)
        for name, start, end in record.stages:
            inner = _context(trace_id, random.getrandbits(64) or 1, state)
            self._processor.on_end(self._span(name, inner, context, start, end))
        method = record.method if record.method in _METHODS else "_OTHER"
        has_failed = record.status >= 500
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            **({} if method == record.method else {"http.request.method_original": record.method}),
            "url.path": record.path,
            "url.scheme": self._scheme,
            "http.response.status_code": record.status,
            "http.response.body.size": record.sent,
            "network.protocol.version": record.http,
            "launcher.request_id": record.request_id,
            "mlflow.model.name": record.model,
            **({"http.route": record.route} if record.route else {}),
            **({"client.address": record.client} if record.client else {}),
            **({"mlflow.model.version": record.version} if record.version else {}),
            **({"mlflow.model.uri": record.uri} if record.uri else {}),
            **_server(record.host),
            **({"error.type": str(record.status)} if has_failed else {}),
        }
        self._processor.on_end(
            self._span(
                " ".join(filter(None, ["HTTP" if method == "_OTHER" else method, record.route])),
                context, parent, record.start, record.end,
                kind=SpanKind.SERVER,
                attributes=attributes,
                status=Status(StatusCode.ERROR) if has_failed else None,
            )
        )  # fmt: skip

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start: int,
        end: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int] | None = None,
        status: Status | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name, context, parent, self._resource, attributes,
            kind=kind, status=status or Status(), start_time=start, end_time=end,
            instrumentation_scope=self._scope,
        )  # fmt: skip

    def close(self) -> None:
        """Export what is left; may take long where the collector does not answer."""
        self._processor.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


def _server(host: str) -> dict[str, str | int]:
    """What `Host` says of the server: a name, or an address, and perhaps a port."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        return {"server.address": host} if host else {}
    return {"server.address": name.strip("[]"), "server.port": int(port)}


def _context(
    trace_id: int, span_id: int, state: TraceState | None, *, is_remote: bool = False
) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote, _SAMPLED, state)


class _SaidOnce(SpanExporter):
    """An exporter whose failures are said once, until it succeeds again."""

    def __init__(self, inner: SpanExporter, url: str, warn: Callable[[str], None]) -> None:
        self._inner = inner
        self._url = url
        self._warn = warn
        self._fails = False
        self._reason = _LastLine()
        # It would say so of each batch.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        logging.getLogger("opentelemetry.exporter").addHandler(self._reason)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - it ends no thread of the SDK's
            result = SpanExportResult.FAILURE
            self._reason.line = f"{type(error).__name__}: {error}"
        has_failed = result is not SpanExportResult.SUCCESS
        if has_failed and not self._fails:
            self._warn(f"traces cannot be delivered to {self._url}: {self._reason.line}")
        elif self._fails and not has_failed:
            self._warn(f"traces are delivered to {self._url} again")
        self._fails = has_failed
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _LastLine(logging.Handler):
    """Keeps what was logged last."""

    line = "no reason was given"

    def emit(self, record: logging.LogRecord) -> None:
        self.line = record.getMessage().splitlines()[0][:300] or self.line
