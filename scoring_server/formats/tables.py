"""A model's answer as a table, for formats that have nothing else."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

import numpy as np
import pandas as pd

from ..errors import ScoringError

COLUMN = "predictions"
_COLUMN_TYPES = (list, tuple, np.ndarray, pd.Series, pd.Index)


def named_frame(predictions: Any, names: Sequence[Optional[str]]) -> pd.DataFrame:
    """As `to_frame`, with the names of the signature's outputs for columns that have none.

    :param names: those of all outputs; None for one without.
    """
    frame = to_frame(predictions)
    if len(names) == len(frame.columns) and None not in names and not _has_names(predictions):
        frame.columns = pd.Index(list(names))
    return frame


def _has_names(predictions: Any) -> bool:
    if isinstance(predictions, pd.Series):
        return predictions.name is not None
    is_records = isinstance(predictions, list) and predictions and isinstance(predictions[0], dict)
    return isinstance(predictions, (dict, pd.DataFrame)) or bool(is_records)


def to_frame(predictions: Any) -> pd.DataFrame:
    """Predictions as a table whose columns have text for names.

    :raises ScoringError: they are no table, such as an answer of a chat.
    """
    if isinstance(predictions, pd.Series):
        predictions = predictions.to_frame(COLUMN if predictions.name is None else predictions.name)
    if isinstance(predictions, np.ndarray) and predictions.ndim > 2:
        predictions = list(predictions)
    if hasattr(predictions, "toarray"):
        predictions = predictions.toarray()
    if isinstance(predictions, pd.DataFrame):
        frame = predictions
    elif isinstance(predictions, np.ndarray) and predictions.ndim == 2:
        frame = pd.DataFrame(predictions)
    elif isinstance(predictions, dict):
        frame = _of_columns(predictions)
    elif isinstance(predictions, list) and predictions and isinstance(predictions[0], dict):
        frame = pd.DataFrame(predictions)
    else:
        values = predictions if isinstance(predictions, (list, np.ndarray)) else [predictions]
        frame = pd.DataFrame({COLUMN: values})
    return frame.rename(columns=str)


def _of_columns(columns: Dict[Any, Any]) -> pd.DataFrame:
    sizes = {len(value) for value in columns.values() if isinstance(value, _COLUMN_TYPES)}
    is_table = all(isinstance(value, _COLUMN_TYPES) for value in columns.values())
    if not is_table or len(sizes) > 1:
        raise ScoringError("The model's answer is an object and no table: it goes into JSON only.")
    return pd.DataFrame({name: list(value) for name, value in columns.items()})
