"""Errors: of requests, as a client is told of them, and of a model that cannot be loaded.

The codes and the HTTP status that belongs to each are those of
`mlflow.exceptions.MlflowException`; what form an error has on the wire, a protocol says.
"""

from __future__ import annotations

import reprlib
import traceback
from typing import Any, Dict, Optional, Sequence, Tuple

BAD_REQUEST = "BAD_REQUEST"
INVALID_PARAMETER_VALUE = "INVALID_PARAMETER_VALUE"
INTERNAL_ERROR = "INTERNAL_ERROR"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
UNAUTHENTICATED = "UNAUTHENTICATED"
TEMPORARILY_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"

STATUS_OF_CODE = {
    BAD_REQUEST: 400,
    INVALID_PARAMETER_VALUE: 400,
    ENDPOINT_NOT_FOUND: 404,
    INTERNAL_ERROR: 500,
    DEADLINE_EXCEEDED: 504,
}

_NAMES: Dict[type, str] = {
    dict: "object",
    list: "array",
    tuple: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}
# A request can carry megabytes, nested to any depth; what it carried is quoted only so far.
_quoting = reprlib.Repr()
_quoting.maxstring = _quoting.maxother = 100
_quoting.maxlist = _quoting.maxdict = _quoting.maxtuple = 10
_quoting.maxlevel = 3


class ScoringError(Exception):
    """A request that cannot be answered; becomes the HTTP answer as it is.

    :param message: one line for the client.
    :param error_code: one of MLflow's names.
    :param status: the HTTP status; None for that of the code.
    :param stack_trace: added in debug mode only.
    :param headers: names and values of further header fields of the answer.
    """

    def __init__(
        self,
        message: str,
        error_code: str = BAD_REQUEST,
        status: Optional[int] = None,
        stack_trace: Optional[str] = None,
        headers: Sequence[Tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code
        self.status = STATUS_OF_CODE.get(error_code, 400) if status is None else status
        self.stack_trace = stack_trace
        self.headers = headers

    def __str__(self) -> str:
        return self.message


class SpentError(ScoringError):
    """An error after which this worker is of no more use."""


class OutOfMemoryError(SpentError):
    """A request that takes more memory than the operator gave a worker."""

    def __init__(self) -> None:
        message = "The request takes more memory than a worker may have: over --worker-memory."
        super().__init__(message, INTERNAL_ERROR)


class CannotStreamError(ScoringError):
    """A model whose `predict_stream` is there, but not implemented."""

    def __init__(self) -> None:
        super().__init__("The model cannot stream.")


class ModelLoadError(Exception):
    """A model that cannot be loaded.

    :param message: one line that says what is wrong.
    :param hint: one line that says what to do, or None.
    :param stage: "config" (the model cannot be served), "import" (a module is missing) or "load".
    """

    def __init__(self, message: str, hint: Optional[str] = None, stage: str = "load") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.stage = stage


def code_of_status(status: int) -> str:
    """The code for an error that HTTP itself knows."""
    return {
        401: UNAUTHENTICATED,
        404: ENDPOINT_NOT_FOUND,
        405: ENDPOINT_NOT_FOUND,
        500: INTERNAL_ERROR,
        503: TEMPORARILY_UNAVAILABLE,
        504: DEADLINE_EXCEEDED,
    }.get(status, BAD_REQUEST)


def too_large(limit: int) -> ScoringError:
    """The error for a body over the limit, in bytes."""
    message = "The body is, or decodes to, more than {} bytes (--max-body).".format(limit)
    return ScoringError(message, status=413)


def no_token() -> ScoringError:
    """The error for a request that lacks the token."""
    return ScoringError("A valid bearer token is needed.", UNAUTHENTICATED, 401)


def internal_error(error: BaseException) -> ScoringError:
    """What a client is told of a failure of the server's own."""
    message = "Internal error: {}.".format(type(error).__name__)
    return ScoringError(message, INTERNAL_ERROR)


def schema_error(message: str) -> ScoringError:
    """The error for input or params that do not fit the model's signature."""
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
    # To their end the words are the model's own: no full stop of ours.
    message = "The model raised {}: {}".format(type(error).__name__, str(error) or repr(error))
    return ScoringError(message, code, status, stack_trace=trace)


def is_mlflow_exception(error: BaseException) -> bool:
    """Whether `error` is an `MlflowException`, told without importing MLflow."""
    return hasattr(error, "get_http_status_code") and any(
        kind.__name__ == "MlflowException" for kind in type(error).__mro__
    )


def reason(error: BaseException) -> str:
    """What an exception says, without a full stop: for the end of a sentence."""
    return (str(error) or repr(error)).rstrip(". \n")


def quote(value: Any) -> str:
    """`repr(value)`, cut where it is long or deep."""
    return _quoting.repr(value)


def type_name(value: Any) -> str:
    """The name of the value's type as a client knows it: JSON's names for JSON's types.

    numpy's types have those of what they were made of, and what pandas holds for a missing value
    is null.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return "null"
    return _NAMES.get(type(value), type(value).__name__)
