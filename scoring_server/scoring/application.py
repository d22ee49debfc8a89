"""From a request to its answer: reads, predicts and writes as the request's protocol has it."""

from __future__ import annotations

import contextlib
import logging
import traceback
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..config import AUTO, ServerConfig, ServerSettings
from ..errors import CannotStreamError, OutOfMemoryError, ScoringError, SpentError, internal_error
from ..formats.content_encoding import most_decoded
from ..formats.parsing import ModelInput
from ..memory import unbounded
from ..model.loading import LoadedModel
from ..routes import Answer, Request
from ..service import EXIT_MODEL_ENDED, EXIT_OUT_OF_MEMORY, Batching, Handler
from .batching import Batcher, Begin, Outcome, Turn
from .direct_lane import LaneState
from .protocol import WireProtocol
from .scorer import Scorer
from .stages import ENCODE, PARSE, Stages, Timed

logger = logging.getLogger(__name__)


class Application(Handler):
    """Answers predictions with a loaded model, in the calling thread.

    :param batching: how that goes in all processes of the server; None where nothing is batched.
    :param has_process: whether no other thread of this process does anything else.
    :param lane: what all workers know of the direct lane; None for one of its own.
    """

    def __init__(
        self,
        config: ServerConfig,
        model: LoadedModel,
        batching: Optional[Batching] = None,
        *,
        has_process: bool = True,
        lane: Optional[LaneState] = None,
    ) -> None:
        self.scorer = Scorer(config, model, bounds_memory=has_process)
        self.scorer.open_lane(config.server.direct_lane, lane or LaneState())
        self._is_debugged = config.server.debug
        self._has_bound = config.server.worker_memory is not None
        self._is_traced = config.server.traces is not None
        # What the compressed bodies of one batch may decode to, together.
        self._most_decoded = config.server.max_body
        self._batching = batching
        self._batcher: Optional[Batcher] = None
        if batching is not None and model.predict_stream is None:
            self._batcher = _batcher(self.scorer, batching, config.server)
        elif batching is not None:
            batching.close()
        self.can_batch = self._batcher is not None

    def close(self) -> None:
        """End what the model runs in, if that is a process of its own."""
        if self._batching is not None:
            self._batching.end_proof()
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

    def answer_together(
        self, requests: Sequence[Request], begin: Begin
    ) -> Iterator[List[Tuple[int, Answer]]]:
        """The answers to several requests, in as few predictions as they allow."""
        assert self._batcher is not None
        alone: List[int] = []
        unread: List[Tuple[int, Answer]] = []
        waiting: Dict[int, Turn] = {}
        room = self._most_decoded
        for place, request in enumerate(requests):
            decoded = most_decoded(request.body, request.headers)
            if not request.group.can_batch or decoded > room:
                alone.append(place)
                continue
            room -= decoded
            stages: Stages = []
            try:
                waiting[place] = Turn(place, self._read(request, stages), stages)
            except Exception as error:  # noqa: BLE001
                unread.append((place, self._error(request, error, stages)))
        if unread:
            yield unread
        try:
            for part in self._batcher.predict(list(waiting.values()), begin):
                turns = [(waiting.pop(place), outcome) for place, outcome in part]
                yield [
                    (turn.place, self._finish(requests[turn.place], turn, outcome))
                    for turn, outcome in turns
                ]
        except Exception:
            logger.exception("Requests could not be answered together; each is answered alone.")
        for place in [*alone, *waiting]:
            begin([place])
            yield [(place, self.answer(requests[place]))]

    def _finish(self, request: Request, turn: Turn, outcome: Outcome) -> Answer:
        try:
            if isinstance(outcome, ScoringError):
                raise outcome
            return self._write(request, turn.model_input, outcome, turn.stages)
        except Exception as error:  # noqa: BLE001
            return self._error(request, error, turn.stages)

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


def _batcher(scorer: Scorer, batching: Batching, settings: ServerSettings) -> Batcher:
    if settings.max_batch_rows != AUTO:
        return Batcher(scorer, batching, int(settings.max_batch_rows))
    from .proven_batching import ProvenBatcher  # here: most servers are not asked for it

    return ProvenBatcher(scorer, batching, settings.batch_tolerance)
