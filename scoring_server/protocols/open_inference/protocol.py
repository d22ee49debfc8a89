"""The protocol's routes: health, metadata, and inference through the door for wire protocols."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ...config import ServerConfig
from ...errors import ENDPOINT_NOT_FOUND, ScoringError, quote
from ...formats.parsing import ModelInput
from ...routes import (
    FRONT,
    PAGES,
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

MODEL = "/v2/models/<name>"
VERSION = MODEL + "/versions/<version>"


class OpenInferenceProtocol(WireProtocol):
    """Health and readiness are the front's and open, as `/ping` is: probes carry no token.

    What reads, writes and describes is imported by the first request that needs it.
    """

    name = "open_inference"
    errors_below = "/v2"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        model = config.model
        self._names = model.served_names
        self._versions = [each for each in (model.version, *model.aliases) if each]
        self._inference: Any = None
        get, post = ("GET",), ("POST",)
        self.routes = (
            Route("/v2", get, PAGES, self._server),
            Route("/v2/health/live", get, FRONT, self._live, is_open=True),
            Route("/v2/health/ready", get, FRONT, self._ready, is_open=True),
            Route(MODEL, get, PAGES, self._metadata),
            Route(VERSION, get, PAGES, self._metadata),
            Route(MODEL + "/ready", get, FRONT, self._model_ready, is_open=True),
            Route(VERSION + "/ready", get, FRONT, self._model_ready, is_open=True),
            Route(MODEL + "/infer", post, WORKER),
            Route(VERSION + "/infer", post, WORKER),
        )

    def describe(self) -> Description:
        """Its operations, with the names and versions that this model has."""
        from .description import describe

        return describe(self._config, self._names, self._versions)

    # --- what needs no model -------------------------------------------------------------------

    def problem(self, params: Dict[str, str]) -> Optional[ScoringError]:
        """404 for the name or version of another model."""
        name, version = params.get("name"), params.get("version")
        if name is not None and name not in self._names:
            # Its readiness is open to everybody: what is served is not told.
            message = "No model {} is served here.".format(quote(name))
        elif version is not None and version not in self._versions:
            message = "No version {} of the model is served here.".format(quote(version))
        else:
            return None
        return ScoringError(message, ENDPOINT_NOT_FOUND)

    def error(self, error: ScoringError) -> Answer:
        """{"error": text}, in debug mode with the stack trace."""
        body = {"error": error.message}
        if self._config.server.debug and error.stack_trace:
            body["stack_trace"] = error.stack_trace
        return json_answer(error.status, body)

    def _server(self, _request: Request, _vitals: Vitals) -> Answer:
        from .metadata import describe_server

        return json_answer(200, describe_server())

    def _metadata(self, _request: Request, _vitals: Vitals) -> Answer:
        from .metadata import describe_model

        return json_answer(200, describe_model(self._config.model, self._names[0]))

    def _live(self, _request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, {"live": True})

    def _ready(self, _request: Request, vitals: Vitals) -> Answer:
        # The specification's text has `live`, its servers and clients have `ready`.
        return _readiness(vitals, {"live": True})

    def _model_ready(self, _request: Request, vitals: Vitals) -> Answer:
        return _readiness(vitals, {"name": self._names[0]})

    # --- inference -----------------------------------------------------------------------------

    def read(self, request: Request, signature: Signature) -> ModelInput:
        """Read the JSON and the binary tensors behind it."""
        if self._inference is None:
            from .inference import Inference

            self._inference = Inference(self._config, self._names[0])
        model_input: ModelInput = self._inference.read(request, signature)
        return model_input

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """The outputs in JSON, and those that are wanted so in binary behind it."""
        answer: Answer = self._inference.write(predictions, model_input)
        return answer


def _readiness(vitals: Vitals, document: Dict[str, Any]) -> Answer:
    return json_answer(200 if vitals.is_ready else 503, {"ready": vitals.is_ready, **document})
