"""How spans that a model makes itself join the trace of the request that it answers.

Only where the model has imported OpenTelemetry (MLflow's tracing is made of it): nothing is
imported here that is not there already.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from typing import Any, ContextManager, Dict

logger = logging.getLogger(__name__)

_CARRIED = ("traceparent", "tracestate")
_SET_BY_MLFLOW = "set_tracing_context_from_http_request_headers"
# In the metadata of a trace that MLflow has.
_TRACE_ID = "launcher.trace_id"
_failures = 0


def carrier_of(headers: Dict[str, str]) -> Dict[str, str]:
    """The headers of a request that say which trace it belongs to."""
    return {name: headers[name] for name in _CARRIED if name in headers}


def joined(carrier: Dict[str, str]) -> ContextManager[Any]:
    """Within the block, spans of this thread are below the one that `carrier` names."""
    entered = contextlib.ExitStack()
    if carrier and "opentelemetry.trace" in sys.modules:
        try:
            _enter(entered, carrier)
        # A trace is not worth a prediction; of other releases' ways we know nothing.
        except Exception:
            global _failures
            _failures += 1
            if _failures == 1:
                logger.warning("The model's spans cannot join the request's.", exc_info=True)
    return entered


def _enter(entered: contextlib.ExitStack, carrier: Dict[str, str]) -> None:
    tracing = sys.modules.get("mlflow.tracing")
    if tracing is not None:
        if not _is_exported_by_otlp() and not _is_exported_at_once():
            # On the way to its server MLflow loses spans whose parent is elsewhere (3.17): its
            # traces stay its own, and carry the request's.
            noting = getattr(tracing, "context", None)
            if callable(noting):
                trace_id = carrier["traceparent"].split("-")[1]
                entered.enter_context(noting(metadata={_TRACE_ID: trace_id}))
            return
        enter = getattr(tracing, _SET_BY_MLFLOW, None)
        if enter is None:
            return
        # MLflow has a context of its own.
        entered.enter_context(enter(dict(carrier)))
    context = importlib.import_module("opentelemetry.context")
    propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    token = context.attach(propagation.TraceContextTextMapPropagator().extract(carrier))
    entered.callback(context.detach, token)


def _is_exported_at_once() -> bool:
    """Whether MLflow hands spans on as they end; by the end of a batch it has left the trace."""
    return os.environ.get("MLFLOW_USE_BATCH_SPAN_PROCESSOR", "").lower() in ("false", "0")


def _is_exported_by_otlp() -> bool:
    module = sys.modules.get("mlflow.tracing.utils.otlp")
    return module is not None and bool(module.should_use_otlp_exporter())
