"""The protocol's routes: health, metadata, and inference through the door for wire protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from ...config import ServerConfig
from ...errors import ENDPOINT_NOT_FOUND, ScoringError, quote
from ...formats.parsing import ModelInput
from ...routes import (
    FRONT,
    JSON_TYPE,
    PAGES,
    WORKER,
    Answer,
    Request,
    Route,
    Vitals,
    json_answer,
)
from ...scoring.protocol import WireProtocol
from ...signature.signature import Signature
from ..mlflow import DECODED_FACTOR
from .metadata import describe_model, describe_server, output_names
from .reading import InputReader
from .requests import Wanted, read_request
from .writing import choose, encode, new_id, outputs_of

BINARY_TYPE = "application/octet-stream"
LENGTH_HEADER = "Inference-Header-Content-Length"
MODEL = "/v2/models/<name>"
VERSION = MODEL + "/versions/<version>"


@dataclass
class InferenceInput(ModelInput):
    """The model's input, and what its answer has to say again."""

    id: Optional[str] = None
    outputs: Optional[List[Wanted]] = None
    is_answer_binary: bool = False


class OpenInferenceProtocol(WireProtocol):
    """Health and readiness are the front's and open, as `/ping` is: probes carry no token."""

    name = "open_inference"
    errors_below = "/v2"

    def __init__(self, config: ServerConfig) -> None:
        self._model = config.model
        self._debug = config.server.debug
        self._max_decoded = DECODED_FACTOR * config.server.max_body
        self._names = list(config.model.names) or [Path(config.model.path).name or "model"]
        self._versions = [each for each in (config.model.version, *config.model.aliases) if each]
        self._reader: Optional[InputReader] = None
        self._output_names: Optional[List[str]] = None
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
        if self._debug and error.stack_trace:
            body["stack_trace"] = error.stack_trace
        return json_answer(error.status, body)

    def _server(self, _request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, describe_server())

    def _metadata(self, _request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, describe_model(self._model, self._names[0]))

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
        sent = read_request(request.body, request.headers)
        if self._reader is None or self._reader.signature is not signature:
            self._reader = InputReader(signature, self._max_decoded)
        decoded = self._reader.read(sent.inputs, sent.content_type)
        return InferenceInput(
            data=decoded.data,
            params=sent.params or None,
            fits=decoded.fits,
            id=sent.id,
            outputs=sent.outputs,
            is_answer_binary=sent.is_answer_binary,
        )

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """The outputs in JSON, and those that are wanted so in binary behind it."""
        assert isinstance(model_input, InferenceInput)
        if self._output_names is None:
            self._output_names = output_names(self._model)
        content_type, outputs = outputs_of(predictions)
        chosen = choose(
            outputs, model_input.outputs, self._output_names, model_input.is_answer_binary
        )
        head: Dict[str, Any] = {"model_name": self._names[0]}
        if self._model.version is not None:
            head["model_version"] = self._model.version
        head["id"] = model_input.id or new_id()
        head["parameters"] = {"content_type": content_type}
        text, binary = encode(head, chosen)
        if not binary:
            return Answer(200, [("Content-Type", JSON_TYPE)], text)
        headers = [("Content-Type", BINARY_TYPE), (LENGTH_HEADER, str(len(text)))]
        return Answer(200, headers, b"".join([text, *binary]))


def _readiness(vitals: Vitals, document: Dict[str, Any]) -> Answer:
    return json_answer(200 if vitals.is_ready else 503, {"ready": vitals.is_ready, **document})
