"""From a request to its answer: reads, predicts and writes as the request's protocol has it."""

from __future__ import annotations

import contextlib
import logging
import traceback
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from ..config import ServerConfig
from ..errors import CannotStreamError, OutOfMemoryError, ScoringError, SpentError, internal_error
from ..formats.content_encoding import most_decoded
from ..formats.parsing import ModelInput
from ..memory import unbounded
from ..model.loading import LoadedModel
from ..routes import Answer, Request
from ..service import EXIT_MODEL_ENDED, EXIT_OUT_OF_MEMORY, Handler
from .batching import Batcher
from .direct_lane import LaneState
from .protocol import WireProtocol
from .scorer import Scorer
from .stages import ENCODE, PARSE, Stages, Timed

logger = logging.getLogger(__name__)


class Application(Handler):
    """Answers predictions with a loaded model, in the calling thread.

    :param has_process: whether no other thread of this process does anything else.
    :param lane: what all workers know of the direct lane; None for one of its own.
    """

    def __init__(
        self,
        config: ServerConfig,
        model: LoadedModel,
        *,
        has_process: bool = True,
        lane: Optional[LaneState] = None,
    ) -> None:
        self.scorer = Scorer(config, model, bounds_memory=has_process)
        self.scorer.open_lane(config.server.direct_lane, lane or LaneState())
        self._is_debugged = config.server.debug
        self._has_bound = config.server.worker_memory is not None
        self._is_traced = config.server.traces is not None
        self.can_batch = config.server.max_batch_rows > 0 and model.predict_stream is None
        # What the compressed bodies of one batch may decode to, together.
        self._most_decoded = config.server.max_body
        self._batcher = Batcher(self.scorer, config.server.max_batch_rows)

    def close(self) -> None:
        """End what the model runs in, if that is a process of its own."""
        self.scorer.model.close()

    def answer(self, request: Request) -> Answer:
        """The answer to one request, whatever is wrong with it."""
        stages: Stages = []
        try:
            model_input = self._read(request, stages)
            if model_input.stream and self.scorer.can_stream:
                with contextlib.suppress(CannotStreamError):
                    return self._stream(request, model_input, stages)
            predictions = self.scorer.predict(model_input, stages)
            return self._write(request, model_input, predictions, stages)
        # Logged and answered there.
        except Exception as error:  # noqa: BLE001
            return self._error(request, error, stages)

    def answer_together(self, requests: Sequence[Request]) -> List[Answer]:
        """The answers to several requests, in as few predictions as they allow."""
        answers: List[Any] = [None] * len(requests)
        waiting: List[Tuple[int, ModelInput, Stages]] = []
        room = self._most_decoded
        for place, request in enumerate(requests):
            decoded = most_decoded(request.body, request.headers)
            if not request.group.can_batch or decoded > room:
                answers[place] = self.answer(request)
                continue
            room -= decoded
            stages: Stages = []
            try:
                waiting.append((place, self._read(request, stages), stages))
            except Exception as error:  # noqa: BLE001
                answers[place] = self._error(request, error, stages)
        try:
            outcomes = self._batcher.predict([each[1:] for each in waiting])
        except Exception:
            logger.exception("Requests could not be answered together; each is answered alone.")
            for place, _, _ in waiting:
                answers[place] = self.answer(requests[place])
            return answers
        for (place, model_input, stages), outcome in zip(waiting, outcomes):
            try:
                if isinstance(outcome, ScoringError):
                    raise outcome
                answers[place] = self._write(requests[place], model_input, outcome, stages)
            except Exception as error:  # noqa: BLE001
                answers[place] = self._error(requests[place], error, stages)
        return answers

    def _read(self, request: Request, stages: Stages) -> ModelInput:
        with Timed(stages, PARSE):
            model_input = self.scorer.read(request)
        if self._is_traced:
            from ..tracing.joining import carrier_of  # here: most servers have no traces

            model_input.trace = carrier_of(request.headers)
        return model_input

    def _write(
        self, request: Request, model_input: ModelInput, predictions: Any, stages: Stages
    ) -> Answer:
        protocol: WireProtocol = request.group
        with Timed(stages, ENCODE):
            answer = protocol.write(predictions, model_input)
        return answer._replace(stages=stages)

    def _stream(self, request: Request, model_input: ModelInput, stages: Stages) -> Answer:
        protocol: WireProtocol = request.group
        answer = protocol.write_stream(self.scorer.stream(model_input), model_input)
        pieces: Any = answer.body
        # An error before the first piece still has a status of its own.
        first = next(pieces)
        return answer._replace(body=self._rest(protocol, first, pieces), stages=stages)

    def _rest(
        self, protocol: WireProtocol, first: bytes, pieces: Iterator[bytes]
    ) -> Iterator[bytes]:
        try:
            yield first
            yield from pieces
        except ScoringError as error:
            self._note(error)
            yield protocol.stream_error(error)

    def _error(self, request: Request, error: Exception, stages: Stages) -> Answer:
        if self._has_bound and isinstance(error, MemoryError):
            error = OutOfMemoryError()
        self._note(error)
        if not isinstance(error, OutOfMemoryError):
            return self._error_answer(request, error, stages)
        with unbounded():
            return self._error_answer(request, error, stages)

    def _error_answer(self, request: Request, error: Exception, stages: Stages) -> Answer:
        told = error
        if not isinstance(told, ScoringError):
            logger.error("A request could not be answered.", exc_info=error)
            told = internal_error(error)
        if self._is_debugged and told.stack_trace is None:
            trace = traceback.format_exception(type(error), error, error.__traceback__)
            told.stack_trace = "".join(trace)
        answer = request.group.error(told)
        answer.headers.extend(told.headers)
        return answer._replace(stages=stages)

    def _note(self, error: Exception) -> None:
        if isinstance(error, SpentError):
            is_memory = isinstance(error, OutOfMemoryError)
            self.exit_code = EXIT_OUT_OF_MEMORY if is_memory else EXIT_MODEL_ENDED
