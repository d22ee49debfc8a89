"""Batching that proves itself: `--max-batch-rows auto`.

Until stacks of a size have proved themselves, requests are answered by what has (one by one, at
first), and their rows are predicted together beside that, once they have been answered. Nobody gets
rows of such a stack before enough of them were those of the other answers. A request that nobody
waits behind is predicted once, as if there were no batching.
"""

from __future__ import annotations

import logging
import random
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np
import pandas as pd

from ..errors import ScoringError
from ..formats.parsing import ModelInput
from ..service import MOST_TOGETHER, Batching, ProofLostError
from .batch_times import BatchTimes
from .batching import Batcher, Begin, Outcome, Part, Turn, inputs_of, rows_of
from .equality import difference
from .scorer import Scorer
from .stacking import NotRowWiseError, stack

logger = logging.getLogger(__name__)

# Proofs before the first stack answers anybody, and of them those of a size: linear algebra takes
# other ways for other numbers of rows.
_PROOFS, _PROOFS_OF_A_SIZE = 16, 4
# Of the time of answering, what proofs may take before a size is proven, and for ever.
_PROVING_SHARE, _SAMPLED_SHARE = 0.1, 0.01
# Kinds of input (columns, params) whose proofs are remembered.
_KINDS = 256
# After so many batches that would gain nothing, none are made for so many seconds.
_IDLE, _REST_SECONDS = 16, 5.0
# A difference up to the last of these is that of another order of additions.
_TOLERANCES = tuple(10.0**power for power in range(-16, -5))


class _Proofs:
    """How many stacks of one kind of input were equal, by size."""

    def __init__(self) -> None:
        self._total = 0
        self._sizes: Dict[int, int] = {}

    def add(self, rows: int) -> None:
        size = size_class(rows)
        self._total += 1
        self._sizes[size] = self._sizes.get(size, 0) + 1

    @property
    def are_enough(self) -> bool:
        return self._total >= _PROOFS

    def of(self, rows: int) -> bool:
        """Whether stacks of so many rows are proven."""
        return self.are_enough and self._sizes.get(size_class(rows), 0) >= _PROOFS_OF_A_SIZE


class _Stack(NamedTuple):
    """Rows of several requests as they were before they were predicted.

    :param seconds: how long stacking them took.
    """

    batch: List[Turn]
    data: Any
    seconds: float


class ProvenBatcher(Batcher):
    """Predicts for several requests at once where the answers are those of single predictions.

    :param tolerance: by how much numbers may differ, as `difference` has it.
    """

    def __init__(self, scorer: Scorer, batching: Batching, tolerance: float) -> None:
        super().__init__(scorer, batching, 0)
        self._tolerance = tolerance
        self._times = BatchTimes()
        self._proofs: Dict[Any, _Proofs] = {}
        # Seconds in answering, and of them those of proofs.
        self._busy = self._proving = self._sampled = 0.0
        self._idle = 0

    def predict(self, turns: Sequence[Turn], begin: Begin) -> Iterator[Part]:
        began = time.perf_counter()
        yield from super().predict(turns, begin)
        self._busy += time.perf_counter() - began

    def _has_room(self, batch: List[Turn], rows: int) -> bool:
        second = batch[1].rows if len(batch) > 1 else rows
        most = self._times.most_rows(batch[0].rows, second)
        return len(batch) < MOST_TOGETHER and rows_of(batch) + rows <= most

    def _settle(self, key: Any, batch: List[Turn], begin: Begin) -> Iterator[Part]:
        proofs = self._proofs_of(key)
        if len(batch) == 1 or self._batching.is_closed or not self._gain(batch):
            for turn in batch:
                yield self._alone(turn, begin)
            return
        if proofs.of(rows_of(batch)):
            yield from self._stacked(batch, begin)
            return
        # First: the model may write into what it is given.
        began = time.perf_counter()
        data = stack(inputs_of(batch))
        took = time.perf_counter() - began
        outcomes: Part = []
        is_alone = True
        for group in _parts(batch, proofs):
            is_alone = is_alone and len(group) == 1
            for part in self._stacked(group, begin):
                outcomes += part
                yield part
        if self._proving <= _PROVING_SHARE * self._busy and not self._batching.is_closed:
            answers = [outcome for _, outcome in outcomes]
            self._prove(_Stack(batch, data, took), answers, proofs, is_alone)

    def _proofs_of(self, key: Any) -> _Proofs:
        if len(self._proofs) > _KINDS:
            self._proofs.clear()
        return self._proofs.setdefault(key, _Proofs())

    def _gain(self, batch: List[Turn]) -> bool:
        if self._times.gains([turn.rows for turn in batch]):
            self._idle = 0
            return True
        self._idle += 1
        if self._idle >= _IDLE:
            self._idle = 0
            self._times.forget_stacks()
            self._batching.rest(_REST_SECONDS)
            logger.info("Batches gain nothing; none are made for %g s.", _REST_SECONDS)
        return False

    def _stacked(self, batch: List[Turn], begin: Begin) -> Iterator[Part]:
        """Answer requests by a stack that is proven, or one by its own prediction."""
        if len(batch) == 1 or self._batching.is_closed:
            for turn in batch:
                yield self._alone(turn, begin)
            return
        answers = self._together(batch, begin)
        if answers is None:
            parts = []
            for turn in batch:
                parts.append(self._alone(turn, begin))
                yield parts[-1]
            if not any(isinstance(part[0][1], ScoringError) for part in parts):
                self._differ("a stack of {} rows failed".format(rows_of(batch)))
            return
        yield [(turn.place, answer) for turn, answer in zip(batch, answers)]
        if self._sampled <= _SAMPLED_SHARE * self._busy:
            self._sampled -= time.perf_counter()
            at = random.randrange(len(batch))
            self._check(lambda: self._compare_one(batch[at], answers[at]))
            self._sampled += time.perf_counter()

    def _prove(
        self, stacked: _Stack, outcomes: List[Outcome], proofs: _Proofs, is_alone: bool
    ) -> None:
        """Predict rows together for nobody, and see that the answers are those that were given.

        :param is_alone: whether each of these was that of a prediction of its own.
        """
        batch = stacked.batch
        # What one of them does to a stack is no news: all are answered one by one then.
        if any(isinstance(each, ScoringError) for each in outcomes):
            return

        def compare() -> Optional[str]:
            began = time.perf_counter() - stacked.seconds
            model_input = ModelInput(stacked.data, batch[0].model_input.params)
            answers = self._predict_stack(batch, model_input, [])
            self._note(batch, began)
            for expected, got in zip(outcomes, answers):
                found = self._difference(expected, got)
                if found is not None:
                    return found
            at = random.randrange(len(batch))
            return None if is_alone else self._compare_one(batch[at], answers[at])

        self._proving -= time.perf_counter()
        if self._check(compare):
            proofs.add(rows_of(batch))
            if proofs.of(rows_of(batch)):
                self._batching.open()
        self._proving += time.perf_counter()

    def _check(self, compare: Any) -> bool:
        """Compare what nobody waits for; batching ends where that differs. Whether it is equal."""
        try:
            if not self._batching.begin_proof():
                return False
        except ProofLostError:
            self._differ("a process ended in the prediction of a stack")
            return False
        try:
            found = compare()
        except NotRowWiseError as error:
            self.close(str(error))
            return False
        # Whatever has come of it, stacks are not what single predictions are.
        except Exception as error:  # noqa: BLE001
            found = "not both raised: {}".format(error)
        finally:
            self._batching.end_proof()
        if found is not None:
            self._differ(found)
        return found is None

    def _compare_one(self, turn: Turn, got: Any) -> Optional[str]:
        """What differs between a request's rows of a stack and a prediction of its own."""
        model_input, began = turn.model_input, time.perf_counter()
        expected = self._scorer.predict(ModelInput(model_input.data, model_input.params))
        self._note([turn], began)
        return self._difference(expected, got)

    def _difference(self, expected: Any, got: Any) -> Optional[str]:
        expected, got = _rows_alone(expected), _rows_alone(got)
        found = difference(expected, got, self._tolerance)
        if found is None:
            return None
        for tolerance in _TOLERANCES:
            if tolerance > self._tolerance and difference(expected, got, tolerance) is None:
                return "{} (it would stay on with --batch-tolerance {:.0e})".format(
                    found, tolerance
                )
        return found

    def _differ(self, found: str) -> None:
        self.close("the answers of stacked rows are not those of single ones: {}.".format(found))

    def _together(self, batch: List[Turn], begin: Begin) -> Optional[List[Outcome]]:
        began = time.perf_counter()
        answers = super()._together(batch, begin)
        if answers is not None:
            self._note(batch, began)
        return answers

    def _alone(self, turn: Turn, begin: Begin) -> Part:
        began = time.perf_counter()
        part = super()._alone(turn, begin)
        if turn.rows:
            self._note([turn], began)
        return part

    def _note(self, batch: List[Turn], began: float) -> None:
        lane = self._scorer.lane
        if lane is not None and lane.went_both_ways:
            # Twice the work; the next ones are what it will be like.
            return
        self._times.note(len(batch), rows_of(batch), time.perf_counter() - began)


def size_class(rows: int) -> int:
    """A number for stacks that are proven together: each its own up to 64, then eight an octave."""
    if rows <= 64:
        return rows
    octave = rows.bit_length() - 4
    return 64 + 8 * octave + ((rows >> octave) & 7)


def _parts(batch: List[Turn], proofs: _Proofs) -> Iterator[List[Turn]]:
    """The batch in as few parts as have proved themselves."""
    while batch:
        rows, count = batch[0].rows, 1
        for place in range(1, len(batch) if proofs.are_enough else 0):
            rows += batch[place].rows
            if proofs.of(rows):
                count = place + 1
        yield batch[:count]
        batch = batch[count:]


def _rows_alone(answer: Any) -> Any:
    """An answer without what says where in a stack it was."""
    if isinstance(answer, dict):
        return {name: _rows_alone(each) for name, each in answer.items()}
    if isinstance(answer, (pd.DataFrame, pd.Series)):
        # No answer over the wire has it.
        return answer.reset_index(drop=True)
    if isinstance(answer, np.ndarray) and answer.dtype.kind in "SU":
        # As wide as the longest text of all rows.
        return answer.astype(object)
    return answer
