"""MLflow's scoring protocol: `/invocations`."""

from __future__ import annotations

from typing import Any, Iterator, Optional, Sequence

from ..config import ServerConfig
from ..errors import ScoringError
from ..formats.encoding import dumps, encode_answer, top_level
from ..formats.parsing import (
    ARROW_TYPE,
    MEDIA_TYPES,
    OF_TABLES,
    ModelInput,
    parse,
    parse_content_type,
)
from ..routes import (
    JSON_TYPE,
    STREAM_TYPE,
    WORKER,
    Answer,
    Description,
    Request,
    Route,
    error_answer,
)
from ..scoring.protocol import SPARE_MEMORY, WireProtocol
from ..signature.schema import Schema
from ..signature.signature import Signature

# A compressed body may decode to this many times the largest body.
DECODED_FACTOR = 10


class MlflowProtocol(WireProtocol):
    """Bodies and errors as MLflow has them; streams as server-sent events of JSON, then [DONE]."""

    name = "mlflow"
    routes: Sequence[Route] = (Route("/invocations", ("POST",), WORKER),)

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._debug = config.server.debug
        self._max_decoded = DECODED_FACTOR * config.server.max_body
        found = config.model.signature
        self._outputs = found.outputs if found is not None else None

    def describe(self) -> Description:
        """The forms of a body that this model's signature takes."""
        from .mlflow_description import describe

        return describe(self._config)

    def memory_for(self, request: Request) -> Optional[int]:
        """As for other texts; Parquet and Arrow are bounded by what they may decode to."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if MEDIA_TYPES.get(media_type) in OF_TABLES:
            return SPARE_MEMORY + self._max_decoded
        return super().memory_for(request)

    def read(self, request: Request, signature: Signature) -> ModelInput:
        """Parse CSV, JSON, Parquet or Arrow, as `Content-Type` says."""
        content_type = parse_content_type(request.headers.get("content-type"))
        model_input = parse(request.body, content_type, signature, self._max_decoded)
        accept = request.headers.get("accept", "")
        if STREAM_TYPE in accept:
            model_input.stream = True
        if accept and ARROW_TYPE in accept.lower():
            from ..formats.accepted import answer_types  # here: most clients ask for nothing else

            model_input.answer_types = answer_types(accept)
        return model_input

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """{"predictions": ...}, what the model returned for a raw payload, or a table as Arrow."""
        if ARROW_TYPE in model_input.answer_types:
            try:
                return self._write_arrow(predictions)
            except ScoringError as error:
                if JSON_TYPE not in model_input.answer_types:
                    raise ScoringError(
                        "The model's answer is no table: accept {}. {}".format(
                            JSON_TYPE, error.message
                        ),
                        status=406,
                    ) from error
        body = encode_answer(predictions, model_input.is_raw)
        return Answer(200, [("Content-Type", JSON_TYPE)], body)

    def _write_arrow(self, predictions: Any) -> Answer:
        from ..formats.arrow_body import write_arrow
        from ..formats.tables import named_frame

        outputs = Schema.from_json(self._outputs).inputs if self._outputs else ()
        body = write_arrow(named_frame(predictions, [each.name for each in outputs]))
        return Answer(200, [("Content-Type", ARROW_TYPE)], body)

    def write_stream(self, chunks: Iterator[Any], _model_input: ModelInput) -> Answer:
        """An event with a line of JSON a chunk."""
        headers = [("Content-Type", STREAM_TYPE), ("Cache-Control", "no-cache")]
        return Answer(200, headers, self._events(chunks))

    @staticmethod
    def _events(chunks: Iterator[Any]) -> Iterator[bytes]:
        for chunk in chunks:
            yield b"data: " + dumps(top_level(chunk)) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def error(self, error: ScoringError) -> Answer:
        """MLflow's JSON, in debug mode with the stack trace."""
        return error_answer(error, self._debug)

    def stream_error(self, error: ScoringError) -> bytes:
        """An event of its own: the status is long sent."""
        body: Any = self.error(error).body
        return b"event: error\ndata: " + body + b"\n\n"
