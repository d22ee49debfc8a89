"""The API's routes, as far as the model has them: its description, and the door for predictions."""

from __future__ import annotations

import calendar
import re
import time
from typing import Any, Dict, Iterator, Optional

from ...config import ServerConfig
from ...errors import UNAUTHENTICATED, ScoringError, quote
from ...formats.parsing import ModelInput
from ...routes import (
    FRONT,
    JSON_TYPE,
    STREAM_TYPE,
    WORKER,
    Answer,
    Description,
    Request,
    Route,
    Vitals,
    json_answer,
)
from ...scoring.protocol import WireProtocol
from ...signature.signature import Signature
from .api import MODEL, MODELS, RequestError, path_of

OWNER = "mlmodel-launcher"


class OpenAIProtocol(WireProtocol):
    """One path of predictions, by what the model is, and the list of models, which has this one.

    What reads and writes is imported by the first request that needs it.
    """

    name = "openai"
    errors_below = "/v1"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        model = config.model
        self._names = model.served_names
        self._created = _seconds(model.utc_time_created)
        self._endpoint: Any = None
        self.path = path_of(model)
        if self.path is None:
            self.remark = "The model has no part of OpenAI's API: it scores at /invocations."
            return
        self.remark = "The model has {} and {}.".format(self.path, MODELS)
        self.routes = (
            Route(MODELS, ("GET",), FRONT, self._list),
            Route(MODEL, ("GET",), FRONT, self._retrieve),
            Route(self.path, ("POST",), WORKER),
        )

    # --- what needs no model -------------------------------------------------------------------

    def describe(self) -> Description:
        """The path that the model has, and the list of models."""
        if self.path is None:
            return Description({})
        from .description import describe

        return describe(self._config, self.path, self._names)

    def problem(self, params: Dict[str, str]) -> Optional[ScoringError]:
        """404 for another model."""
        return self._unknown(params["id"]) if "id" in params else None

    def error(self, error: ScoringError) -> Answer:
        """{"error": {"message", "type", "param", "code"}}, in debug mode with the stack trace."""
        return json_answer(error.status, {"error": self._describe(error)})

    def _describe(self, error: ScoringError) -> Dict[str, Any]:
        code = "invalid_api_key" if error.error_code == UNAUTHENTICATED else error.error_code
        described = {
            "message": error.message,
            "type": "server_error" if error.status >= 500 else "invalid_request_error",
            "param": getattr(error, "param", None),
            "code": code.lower(),
        }
        if self._config.server.debug and error.stack_trace:
            described["stack_trace"] = error.stack_trace
        return described

    def _unknown(self, name: Any) -> Optional[ScoringError]:
        if name in self._names:
            return None
        message = "No model {} is served here: ask for {}.".format(
            quote(name), quote(self._names[0])
        )
        return RequestError(message, "model", "MODEL_NOT_FOUND", 404)

    def _list(self, _request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, {"object": "list", "data": [self._card(self._names[0])]})

    def _retrieve(self, request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, self._card(request.params["id"]))

    def _card(self, name: str) -> Dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": OWNER}

    # --- predictions ---------------------------------------------------------------------------

    def read(self, request: Request, signature: Signature) -> ModelInput:
        """The model's input from the parameters of a request; `model` may be left out."""
        if self._endpoint is None:
            from .endpoints import endpoint_for

            self._endpoint = endpoint_for(str(self.path))
        document = self._endpoint.decode(request.body)
        problem = self._unknown(document.pop("model", self._names[0]))
        if problem is not None:
            raise problem
        model_input: ModelInput = self._endpoint.read(document, signature, self._names[0])
        return model_input

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """The object; for who asked for a stream, as one."""
        if not model_input.stream:
            body = self._endpoint.write(predictions, model_input)
            return Answer(200, [("Content-Type", JSON_TYPE)], body)
        return self._stream(b"".join(self._endpoint.whole(predictions, model_input)))

    def write_stream(self, chunks: Iterator[Any], model_input: ModelInput) -> Answer:
        """An event a chunk, and those that the API has before and after them."""
        return self._stream(self._endpoint.events(chunks, model_input))

    @staticmethod
    def _stream(body: Any) -> Answer:
        return Answer(200, [("Content-Type", STREAM_TYPE), ("Cache-Control", "no-cache")], body)

    def stream_error(self, error: ScoringError) -> bytes:
        """The error, for which clients look in each event."""
        event: bytes = self._endpoint.error_event(self._describe(error))
        return event


def _seconds(created: Optional[str]) -> int:
    """Seconds since 1970 for an ISO time in UTC; 0 where it is not known."""
    found = re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", created or "")
    if found is None:
        return 0
    try:
        return calendar.timegm(time.strptime(" ".join(found.groups()), "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        return 0
