"""Adaptive batching: requests that wait while the model is busy share one prediction.

Rows of requests whose columns (names and types) and params agree are stacked into one `predict`
call, and each request gets the rows of the answer that are its own. Nothing waits for a batch to
fill: what is there when the model becomes free is taken together.
"""

from __future__ import annotations

import itertools
import logging
import pickle
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import pandas as pd

from ..errors import ScoringError
from ..formats.parsing import ModelInput
from .scorer import Scorer

logger = logging.getLogger(__name__)

Outcome = Union[bytes, ScoringError]


class _NotRowWiseError(Exception):
    """The answer has not one item a row."""


class Batcher:
    """Scores several requests at once.

    :param max_rows: most rows of one prediction. A request with more is predicted by itself.
    """

    def __init__(self, scorer: Scorer, max_rows: int) -> None:
        self._scorer = scorer
        self._max_rows = max_rows
        self.is_on = True

    def score(self, requests: Sequence[Tuple[bytes, Optional[str]]]) -> List[Outcome]:
        """The body of the answer to each (body, content type), or what is wrong with it."""
        outcomes: List[Any] = [None] * len(requests)
        waiting: Dict[Any, List[Tuple[int, ModelInput, int]]] = {}
        for place, (body, content_type) in enumerate(requests):
            try:
                model_input = self._scorer.prepare(body, content_type)
            except ScoringError as error:
                outcomes[place] = error
                continue
            key, rows = _stacking(model_input) if self.is_on else (None, 0)
            if key is None:
                outcomes[place] = self._alone(model_input)
                continue
            batch = waiting.setdefault(key, [])
            if batch and sum(each[2] for each in batch) + rows > self._max_rows:
                self._settle(batch, outcomes)
                batch.clear()
            batch.append((place, model_input, rows))
        for batch in waiting.values():
            self._settle(batch, outcomes)
        return outcomes

    def _settle(self, batch: List[Tuple[int, ModelInput, int]], outcomes: List[Any]) -> None:
        for (place, _, _), outcome in zip(batch, self._together(batch)):
            outcomes[place] = outcome

    def _together(self, batch: List[Tuple[int, ModelInput, int]]) -> List[Outcome]:
        inputs = [model_input for _, model_input, _ in batch]
        if len(inputs) > 1 and self.is_on:
            try:
                stacked = ModelInput(_stack([each.data for each in inputs]), inputs[0].params)
                answers = _split(self._scorer.predict(stacked), [rows for _, _, rows in batch])
                return [self._encode(*each) for each in zip(answers, inputs)]
            except ScoringError:
                # One bad request must not hurt the others: each has its own turn.
                logger.info("a batch of %d requests failed; each is predicted alone", len(inputs))
            except _NotRowWiseError as error:
                self.is_on = False
                logger.warning("batching is off from now on: %s", error)
        return [self._alone(each) for each in inputs]

    def _alone(self, model_input: ModelInput) -> Outcome:
        try:
            return self._scorer.encode(self._scorer.predict(model_input), model_input)
        except ScoringError as error:
            return error

    def _encode(self, answer: Any, model_input: ModelInput) -> Outcome:
        try:
            return self._scorer.encode(answer, model_input)
        except ScoringError as error:
            return error


def _stacking(model_input: ModelInput) -> Tuple[Any, int]:
    """What inputs must have in common to be stacked, and the rows; (None, 0) for never."""
    data = model_input.data
    if model_input.is_raw or model_input.stream:
        return None, 0
    params = None if model_input.params is None else pickle.dumps(model_input.params)
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
    if isinstance(data[0], pd.DataFrame):
        return pd.concat(data, ignore_index=True)
    if isinstance(data[0], np.ndarray):
        return np.concatenate(data)
    return {name: np.concatenate([each[name] for each in data]) for name in data[0]}


def _split(answer: Any, lengths: List[int]) -> List[Any]:
    """The answer's rows for each request; raises `_NotRowWiseError`."""
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
        raise _NotRowWiseError("{} rows were answered with {}".format(rows, len(answer)))
    raise _NotRowWiseError("rows were answered with one {}".format(type(answer).__name__))
