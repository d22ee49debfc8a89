"""Rows of several requests below each other, and the rows of the answer that are each one's."""

from __future__ import annotations

import itertools
import pickle
from typing import Any, List, Tuple

import numpy as np
import pandas as pd

from ..formats.parsing import ModelInput
from ..signature.number_rows import NumberRows, is_numbered


class NotRowWiseError(Exception):
    """The answer has not one item a row."""


def stacking(model_input: ModelInput) -> Tuple[Any, int]:
    """What inputs must have in common to be stacked, and the rows; (None, 0) for never."""
    data = model_input.data
    if model_input.is_raw:
        return None, 0
    params = None if model_input.params is None else pickle.dumps(model_input.params)
    if isinstance(data, NumberRows) and len(data):
        return ("numbers", params), len(data)
    if isinstance(data, pd.DataFrame):
        rows = len(data)
        if model_input.fits and rows:
            # The signature says what the columns are.
            return ("fits", params), rows
        if not rows or not is_numbered(data.index):
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


def stack(data: List[Any]) -> Any:
    """The rows of all, copied, below each other."""
    if isinstance(data[0], NumberRows):
        return NumberRows.stacked(data)
    if isinstance(data[0], pd.DataFrame):
        return pd.concat(data, ignore_index=True)
    if isinstance(data[0], np.ndarray):
        return np.concatenate(data)
    return {name: np.concatenate([each[name] for each in data]) for name in data[0]}


def split(answer: Any, lengths: List[int]) -> List[Any]:
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
        raise NotRowWiseError("{} rows were answered with {}.".format(rows, len(answer)))
    raise NotRowWiseError("Rows were answered with one {}.".format(type(answer).__name__))
