"""From a request's body to the answer's body: the one path that HTTP and batch scoring share."""

from __future__ import annotations

import logging
from typing import Any, Iterator, Optional

import numpy as np
import pandas as pd

from ..config import ServerConfig
from ..errors import ScoringError, from_model_exception
from ..formats.encoding import dumps, encode_answer, top_level
from ..formats.parsing import PARQUET, ContentType, ModelInput, parse, parse_content_type
from ..memory import at_most
from ..model.loading import LoadedModel
from ..signature.examples import example_conversion
from ..signature.signature import Signature
from .stages import ENCODE, PARSE, PREDICT, timed

logger = logging.getLogger(__name__)

# A compressed body may decode to this many times the largest body.
DECODED_FACTOR = 10
# What values in JSON or CSV may take as Python objects and tables, a byte of their text; bodies up
# to the small size take little, whatever is in them.
TEXT_FACTOR = 100
SMALL_BODY = 8 * 1024
SPARE_MEMORY = 64 * 1024 * 1024


class Scorer:
    """Parses, applies the signature, predicts, encodes.

    The steps are separate so that several requests can share one prediction: `prepare` gives a
    `ModelInput` that the signature has been applied to, `predict` the model's raw answer,
    `encode` the bytes for the client. All raise `ScoringError` only.
    """

    def __init__(self, config: ServerConfig, model: LoadedModel) -> None:
        self.model = model
        self.signature = Signature.from_config(config.model)
        self._to_example = example_conversion(config.model)
        self._max_decoded = DECODED_FACTOR * config.server.max_body
        self._threads = config.server.threads

    def score(self, body: bytes, content_type: Optional[str]) -> bytes:
        """The answer to one request body."""
        model_input = self.prepare(body, content_type)
        return self.encode(self.predict(model_input), model_input)

    @timed(PARSE)
    def prepare(self, body: bytes, content_type: Optional[str]) -> ModelInput:
        """Parse a body and apply the signature to it, within memory that its size explains."""
        kind = parse_content_type(content_type)
        try:
            # The bound is the whole process's: threads would take it for each other.
            if self._threads > 1 or (len(body) <= SMALL_BODY and kind.format != PARQUET):
                return self._prepare(body, kind)
            with at_most(self._memory_for(body, kind)):
                return self._prepare(body, kind)
        except RecursionError as error:
            raise ScoringError("the body is nested too deeply") from error
        except UnicodeEncodeError as error:
            # JSON can write half of a surrogate pair; tables and Arrow's texts cannot hold it.
            raise ScoringError("the body has text that is not Unicode: {}".format(error)) from error
        except (ScoringError, MemoryError) as error:
            if not _is_for_want_of_memory(error):
                raise
            raise ScoringError("the body decodes to more than it may", status=413) from error

    def _prepare(self, body: bytes, kind: ContentType) -> ModelInput:
        return self.apply_signature(parse(body, kind, self.signature, self._max_decoded))

    def _memory_for(self, body: bytes, kind: ContentType) -> int:
        """How many bytes of memory a body may take while it is read."""
        if kind.format == PARQUET:
            return SPARE_MEMORY + self._max_decoded
        return SPARE_MEMORY + TEXT_FACTOR * len(body)

    def apply_signature(self, model_input: ModelInput) -> ModelInput:
        """Convert parsed data and params to what the signature says."""
        if not model_input.fits:
            model_input.data = self.signature.enforce(model_input.data)
        model_input.params = self.signature.enforce_params(model_input.params)
        if self._to_example is not None and isinstance(model_input.data, pd.DataFrame):
            model_input.data = self._to_example(model_input.data)
        return model_input

    @timed(PREDICT)
    def predict(self, model_input: ModelInput) -> Any:
        """The model's answer as it returned it."""
        try:
            return self.model.predict(model_input.data, model_input.params)
        # A model may raise anything, and sys.exit() in a model must not end the server.
        except (Exception, SystemExit) as error:
            logger.error("the model raised an exception", exc_info=True)
            raise from_model_exception(error) from error

    @timed(ENCODE)
    def encode(self, predictions: Any, model_input: ModelInput) -> bytes:
        """The body of the answer."""
        return encode_answer(predictions, model_input.is_raw)

    def stream(self, model_input: ModelInput) -> Iterator[bytes]:
        """The model's answer as server-sent events: a `data:` line of JSON a chunk, then [DONE].

        The model must have `predict_stream`; it gets one input, not a table.
        """
        predict_stream: Any = self.model.predict_stream
        data = single_input(model_input.data)
        try:
            for chunk in predict_stream(data, model_input.params):
                yield b"data: " + dumps(top_level(chunk)) + b"\n\n"
            yield b"data: [DONE]\n\n"
        except ScoringError:
            raise
        except (Exception, SystemExit) as error:
            logger.error("the model raised an exception", exc_info=True)
            raise from_model_exception(error) from error


def _is_for_want_of_memory(error: Optional[BaseException]) -> bool:
    """Whether an error is a ``MemoryError``, or was made of one."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def single_input(data: Any) -> Any:
    """The one input of a stream, as plain Python values; raises `ScoringError`.

    The signature makes tables and arrays of it; this is the way back, as in
    `mlflow.models.utils._convert_llm_input_data`.
    """
    if isinstance(data, pd.DataFrame):
        names: Any = list(data.columns)
        is_unnamed = names == [0]
        data = data[0].tolist() if is_unnamed else data.to_dict(orient="records")
    data = _plain(data)
    if not isinstance(data, list):
        return data
    if len(data) != 1:
        raise ScoringError("a stream answers one input, got {}".format(len(data)))
    return data[0]


def _plain(data: Any) -> Any:
    if isinstance(data, np.ndarray):
        return data.tolist()
    if isinstance(data, np.generic):
        return data.item()
    if isinstance(data, list):
        return [_plain(item) for item in data]
    if isinstance(data, dict):
        return {key: _plain(item) for key, item in data.items()}
    return data
