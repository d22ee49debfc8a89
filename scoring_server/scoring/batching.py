"""Adaptive batching: requests that wait while the model is busy share one prediction.

Rows of requests whose columns (names and types) and params agree are stacked into one `predict`
call, and each request gets the rows of the answer that are its own. Nothing waits for a batch to
fill: what is there when the model becomes free is taken together.
"""

from __future__ import annotations

import itertools
import logging
import pickle
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import pandas as pd

from ..errors import ScoringError
from ..formats.parsing import ModelInput
from ..signature.number_rows import NumberRows
from .scorer import Scorer
from .stages import Stages

logger = logging.getLogger(__name__)

# What the model answered, or the error.
Outcome = Any


class _NotRowWiseError(Exception):
    """The answer has not one item a row."""


class _Turn(NamedTuple):
    """One input, where its answer goes, and the rows it has (0 where it is not stacked)."""

    place: int
    model_input: ModelInput
    stages: Stages
    rows: int


class Batcher:
    """Predicts for several requests at once, of whichever protocol.

    :param max_rows: most rows of one prediction. A request with more is predicted by itself.
    """

    def __init__(self, scorer: Scorer, max_rows: int) -> None:
        self._scorer = scorer
        self._max_rows = max_rows
        self.is_on = True

    def predict(self, inputs: Sequence[Tuple[ModelInput, Stages]]) -> List[Outcome]:
        """The model's answer to each input, or what is wrong with it.

        The stages of each get the time of the prediction that it was in.
        """
        outcomes: List[Any] = [None] * len(inputs)
        waiting: Dict[Any, List[_Turn]] = {}
        for place, (model_input, stages) in enumerate(inputs):
            key, rows = _stacking(model_input) if self.is_on else (None, 0)
            turn = _Turn(place, model_input, stages, rows)
            if key is None:
                outcomes[place] = self._alone(turn)
                continue
            batch = waiting.setdefault(key, [])
            if batch and sum(each.rows for each in batch) + rows > self._max_rows:
                self._settle(batch, outcomes)
                batch.clear()
            batch.append(turn)
        for batch in waiting.values():
            self._settle(batch, outcomes)
        return outcomes

    def _settle(self, batch: List[_Turn], outcomes: List[Any]) -> None:
        for turn, outcome in zip(batch, self._together(batch)):
            outcomes[turn.place] = outcome

    def _together(self, batch: List[_Turn]) -> List[Outcome]:
        if len(batch) > 1 and self.is_on:
            stages: Stages = []
            stacked = ModelInput(
                _stack([turn.model_input.data for turn in batch]), batch[0].model_input.params
            )
            # A span has one parent: the first request's.
            stacked.trace = batch[0].model_input.trace
            try:
                answers = _split(
                    self._scorer.predict(stacked, stages), [turn.rows for turn in batch]
                )
            except ScoringError:
                # One bad request must not hurt the others: each has its own turn.
                logger.info("A batch of %d requests failed; each is predicted alone.", len(batch))
            except _NotRowWiseError as error:
                self.is_on = False
                logger.warning("Batching is off from now on: %s", error)
            else:
                for turn in batch:
                    turn.stages.extend(stages)
                return answers
        return [self._alone(turn) for turn in batch]

    def _alone(self, turn: _Turn) -> Outcome:
        try:
            return self._scorer.predict(turn.model_input, turn.stages)
        except ScoringError as error:
            return error


def _stacking(model_input: ModelInput) -> Tuple[Any, int]:
    """What inputs must have in common to be stacked, and the rows; (None, 0) for never."""
    data = model_input.data
    if model_input.is_raw:
        return None, 0
    params = None if model_input.params is None else pickle.dumps(model_input.params)
    if isinstance(data, NumberRows):
        return ("numbers", params), len(data)
    if isinstance(data, pd.DataFrame):
        rows = len(data)
        if model_input.fits and rows:
            # The signature says what the columns are.
            return ("fits", params), rows
        index = data.index
        if not rows or not isinstance(index, pd.RangeIndex) or index[0] != 0 or index[-1] >= rows:
            return None, 0
        return ("table", tuple(data.columns), tuple(data.dtypes), params), rows
    if isinstance(data, np.ndarray) and data.ndim and len(data):
        return ("array", data.dtype, data.shape[1:], params), len(data)
    if isinstance(data, dict) and data:
        values = list(data.values())
        if all(isinstance(each, np.ndarray) and each.ndim and len(each) for each in values):
            rows = len(values[0])
            if all(len(each) == rows for each in values):
                kinds = tuple((name, each.dtype, each.shape[1:]) for name, each in data.items())
                return ("arrays", kinds, params), rows
    return None, 0


def _stack(data: List[Any]) -> Any:
    if isinstance(data[0], NumberRows):
        return NumberRows.stacked(data)
    if isinstance(data[0], pd.DataFrame):
        return pd.concat(data, ignore_index=True)
    if isinstance(data[0], np.ndarray):
        return np.concatenate(data)
    return {name: np.concatenate([each[name] for each in data]) for name in data[0]}


def _split(answer: Any, lengths: List[int]) -> List[Any]:
    """The answer's rows for each request."""
    ends = list(itertools.accumulate(lengths))
    spans = [slice(end - length, end) for length, end in zip(lengths, ends)]
    if isinstance(answer, dict) and answer:
        columns = {name: _rows_of(each, spans, ends[-1]) for name, each in answer.items()}
        return [{name: each[at] for name, each in columns.items()} for at in range(len(spans))]
    return _rows_of(answer, spans, ends[-1])


def _rows_of(answer: Any, spans: List[slice], rows: int) -> List[Any]:
    if isinstance(answer, (pd.DataFrame, pd.Series)) and len(answer) == rows:
        return [answer.iloc[span] for span in spans]
    if isinstance(answer, list) or (isinstance(answer, np.ndarray) and answer.ndim):
        if len(answer) == rows:
            return [answer[span] for span in spans]
        raise _NotRowWiseError("{} rows were answered with {}.".format(rows, len(answer)))
    raise _NotRowWiseError("Rows were answered with one {}.".format(type(answer).__name__))
