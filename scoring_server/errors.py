"""Errors as a client sees them, in MLflow's JSON shape and with its status codes.

MLflow's shape is {"error_code": ..., "message": ...}; the codes and the HTTP status that belongs
to each are those of `mlflow.exceptions.MlflowException`.
"""

from __future__ import annotations

import json
import reprlib
import traceback
from typing import Any, Dict, Optional

BAD_REQUEST = "BAD_REQUEST"
INVALID_PARAMETER_VALUE = "INVALID_PARAMETER_VALUE"
INTERNAL_ERROR = "INTERNAL_ERROR"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"

STATUS_OF_CODE = {
    BAD_REQUEST: 400,
    INVALID_PARAMETER_VALUE: 400,
    ENDPOINT_NOT_FOUND: 404,
    INTERNAL_ERROR: 500,
    DEADLINE_EXCEEDED: 504,
}

# A request can carry megabytes, nested to any depth; what it carried is quoted only so far.
_quoting = reprlib.Repr()
_quoting.maxstring = _quoting.maxother = 100
_quoting.maxlist = _quoting.maxdict = _quoting.maxtuple = 10
_quoting.maxlevel = 3


class ScoringError(Exception):
    """A request that cannot be answered; becomes the HTTP answer as it is.

    `status` is the HTTP status, `error_code` one of MLflow's names, `message` one line for the
    client, `stack_trace` the text that is added in debug mode only.
    """

    def __init__(
        self,
        message: str,
        error_code: str = BAD_REQUEST,
        status: Optional[int] = None,
        stack_trace: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code
        self.status = STATUS_OF_CODE.get(error_code, 400) if status is None else status
        self.stack_trace = stack_trace

    def __str__(self) -> str:
        return self.message

    def to_json(self, debug: bool = False) -> bytes:
        """The body of the answer; with `debug`, the stack trace is in it."""
        body = {"error_code": self.error_code, "message": self.message}
        if debug and self.stack_trace:
            body["stack_trace"] = self.stack_trace
        return json.dumps(body).encode("ascii")


def schema_error(message: str) -> ScoringError:
    """The input does not fit the model's signature."""
    return ScoringError(message, INVALID_PARAMETER_VALUE)


def from_model_exception(error: BaseException) -> ScoringError:
    """What a client is told when the model itself raised `error`.

    An `MlflowException` of the model's MLflow keeps its own code and status (MLflow answers it
    as it is); everything else is BAD_REQUEST, as in MLflow.
    """
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    code, status = BAD_REQUEST, 400
    if is_mlflow_exception(error):
        code = str(getattr(error, "error_code", INTERNAL_ERROR))
        status = int(error.get_http_status_code())  # type: ignore[attr-defined]
    text = str(error) or repr(error)
    message = "The model raised {}: {}".format(type(error).__name__, text)
    return ScoringError(message, code, status, stack_trace=trace)


def is_mlflow_exception(error: BaseException) -> bool:
    """Whether `error` is an `MlflowException`, told without importing MLflow."""
    return hasattr(error, "get_http_status_code") and any(
        kind.__name__ == "MlflowException" for kind in type(error).__mro__
    )


def quote(value: Any) -> str:
    """`repr(value)`, cut where it is long or deep."""
    return _quoting.repr(value)


def type_name(value: Any) -> str:
    """The name of the value's type as a client knows it: JSON's names for JSON's types."""
    names: Dict[type, str] = {dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), type(value).__name__)
