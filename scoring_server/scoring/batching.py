"""Adaptive batching: requests that wait while the model is busy share one prediction.

Rows of requests whose columns (names and types) and params agree are stacked into one `predict`
call, and each request gets the rows of the answer that are its own. Nothing waits for a batch to
fill: what is there when the model becomes free is taken together.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import ScoringError
from ..formats.parsing import ModelInput
from ..service import Batching
from .scorer import Scorer
from .stacking import NotRowWiseError, split, stack, stacking
from .stages import Stages

logger = logging.getLogger(__name__)

# What the model answered, or the error; and some of them with the places of their requests.
Outcome = Any
Part = List[Tuple[int, Outcome]]
Begin = Callable[[Sequence[int]], None]


class Turn(NamedTuple):
    """One input, where its answer goes, and the rows it has (0 where it is not stacked)."""

    place: int
    model_input: ModelInput
    stages: Stages
    rows: int = 0


class Batcher:
    """Predicts for several requests at once, of whichever protocol.

    :param batching: whether it still may.
    :param max_rows: most rows of one prediction. A request with more is predicted by itself.
    """

    def __init__(self, scorer: Scorer, batching: Batching, max_rows: int) -> None:
        self._scorer = scorer
        self._batching = batching
        self._max_rows = max_rows

    def predict(self, turns: Sequence[Turn], begin: Begin) -> Iterator[Part]:
        """The model's answer to each input, or what is wrong with it, as they become known.

        The stages of each get the time of the prediction that it was in.

        :param begin: is told the places of those in the next prediction.
        """
        waiting: Dict[Any, List[Turn]] = {}
        for turn in turns:
            key, rows = (None, 0) if self._batching.is_closed else stacking(turn.model_input)
            if key is None:
                yield self._alone(turn, begin)
                continue
            batch = waiting.setdefault(key, [])
            if batch and not self._has_room(batch, rows):
                yield from self._settle(key, batch, begin)
                batch = waiting[key] = []
            batch.append(turn._replace(rows=rows))
        for key, batch in waiting.items():
            yield from self._settle(key, batch, begin)

    def _has_room(self, batch: List[Turn], rows: int) -> bool:
        return rows_of(batch) + rows <= self._max_rows

    def _settle(self, _key: Any, batch: List[Turn], begin: Begin) -> Iterator[Part]:
        """Answer what can be stacked."""
        answers = None
        if len(batch) > 1 and not self._batching.is_closed:
            answers = self._together(batch, begin)
        if answers is not None:
            yield [(turn.place, answer) for turn, answer in zip(batch, answers)]
            return
        for turn in batch:
            yield self._alone(turn, begin)

    def _together(self, batch: List[Turn], begin: Begin) -> Optional[List[Outcome]]:
        """The answers of one prediction for all; None where they have none of it."""
        begin([turn.place for turn in batch])
        stages: Stages = []
        first = batch[0].model_input
        try:
            # A span has one parent: the first request's.
            stacked = ModelInput(stack(inputs_of(batch)), first.params, trace=first.trace)
            answers = self._predict_stack(batch, stacked, stages)
        except ScoringError:
            # One bad request must not hurt the others: each has its own turn.
            logger.info("A batch of %d requests failed; each is predicted alone.", len(batch))
            return None
        except NotRowWiseError as error:
            self.close(str(error))
            return None
        for turn in batch:
            turn.stages.extend(stages)
        return answers

    def _predict_stack(
        self, batch: List[Turn], stacked: ModelInput, stages: Stages
    ) -> List[Outcome]:
        """The answers that each has of one prediction for all."""
        return split(self._scorer.predict(stacked, stages), [turn.rows for turn in batch])

    def _alone(self, turn: Turn, begin: Begin) -> Part:
        begin([turn.place])
        try:
            return [(turn.place, self._scorer.predict(turn.model_input, turn.stages))]
        except ScoringError as error:
            return [(turn.place, error)]

    def close(self, reason: str) -> None:
        """Batch nothing any more, in no process of this server."""
        if not self._batching.is_closed:
            self._batching.close()
            logger.warning("Batching is off from now on: %s", reason)


def rows_of(batch: Sequence[Turn]) -> int:
    """How many rows they have together."""
    return sum(turn.rows for turn in batch)


def inputs_of(batch: Sequence[Turn]) -> List[Any]:
    """The data of each."""
    return [turn.model_input.data for turn in batch]
