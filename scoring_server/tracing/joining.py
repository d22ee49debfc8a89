"""How spans that a model makes itself join the trace of the request that it answers.

Only where the model has imported OpenTelemetry (MLflow's tracing is made of it): nothing is
imported here that is not there already.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from typing import Any, ContextManager, Dict

logger = logging.getLogger(__name__)

_CARRIED = ("traceparent", "tracestate")
_SET_BY_MLFLOW = "set_tracing_context_from_http_request_headers"
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
        # MLflow has a context of its own. Before it had this (3.9), a parent from elsewhere made
        # it lose its traces: such a one is left alone.
        enter = getattr(tracing, _SET_BY_MLFLOW, None)
        if enter is None:
            return
        entered.enter_context(enter(dict(carrier)))
    context = importlib.import_module("opentelemetry.context")
    propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    token = context.attach(propagation.TraceContextTextMapPropagator().extract(carrier))
    entered.callback(context.detach, token)
