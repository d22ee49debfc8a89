"""The door for wire protocols: what the scoring asks of one."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from ..errors import ScoringError
from ..formats.parsing import ModelInput
from ..routes import Answer, Request, RouteGroup
from ..signature.signature import Signature

# What values in a text may take as Python objects and tables, a byte of their text; bodies up to
# the small size take little, whatever is in them.
TEXT_FACTOR = 100
SMALL_BODY = 8 * 1024
SPARE_MEMORY = 64 * 1024 * 1024


class WireProtocol(RouteGroup):
    """Turns requests of its routes into model input, and the model's answers into bytes.

    Its routes that a worker answers are predictions. `can_batch` says that rows of several of its
    requests may share a prediction. `error` gives its own form of an error.
    """

    can_batch = True

    def memory_for(self, request: Request) -> Optional[int]:
        """How many bytes of memory a request may take while it is read; None for no bound."""
        if len(request.body) <= SMALL_BODY:
            return None
        return SPARE_MEMORY + TEXT_FACTOR * len(request.body)

    def read(self, request: Request, signature: Signature) -> ModelInput:
        """The model's input, to which the signature has yet to be applied.

        What the answer needs to know again can go into a subclass of `ModelInput`.

        :raises ScoringError: the request is not what the protocol says.
        """
        raise NotImplementedError

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """The answer from what the model returned.

        :raises ScoringError: it cannot be encoded.
        """
        raise NotImplementedError

    def write_stream(self, chunks: Iterator[Any], _model_input: ModelInput) -> Answer:
        """The answer that streams the model's chunks; for input with `stream`.

        Errors of the model come out of `chunks`, and should not be caught: before the first piece
        they become an answer of their own, later `stream_error`.
        """
        raise NotImplementedError

    def stream_error(self, error: ScoringError) -> bytes:
        """The last piece of a stream that failed."""
        raise NotImplementedError
