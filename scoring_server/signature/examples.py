"""Models whose input type is taken from the logged input example (MLflow's `TypeFromExample`).

The signature makes a DataFrame of every input; such a model wants the example's own form back. The
rules are those of `mlflow.types.type_hints._convert_dataframe_to_example_format`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pandas as pd

from ..config import ModelConfig

Convert = Callable[[pd.DataFrame], Any]

FILE_NAME = "input_example.json"
# MLflow writes DataFrames in pandas' split form.
SPLIT_KEYS = {"columns", "data", "index"}
# What MLflow calls the two parts of an example that was logged with params.
DATA_KEY, PARAMS_KEY = "inputs", "params"


def example_conversion(model: ModelConfig) -> Optional[Convert]:
    """The function that gives a DataFrame the form of the model's example; None to leave it.

    :raises OSError: the example cannot be read.
    :raises ValueError: it is not JSON.
    """
    if not model.type_hint_from_example:
        return None
    info = model.saved_input_example_info
    if info is not None and info.get("type") != "json_object":
        return None
    path = Path(model.path, (info or {}).get("artifact_path") or FILE_NAME)
    if not path.exists():
        return None
    example = json.loads(path.read_text(encoding="utf-8"))
    if info is None and _is_table(example):
        return None
    has_params = set(example) == {DATA_KEY, PARAMS_KEY} if isinstance(example, dict) else False
    if has_params if info is None else info.get(PARAMS_KEY):
        example = example[DATA_KEY]
    if isinstance(example, dict):
        return _to_dict
    if isinstance(example, list):
        scalars = all(np.isscalar(item) for item in example)
        return _to_list if scalars else _to_records
    return _to_scalar if np.isscalar(example) else None


def _is_table(example: Any) -> bool:
    """Whether the file holds a DataFrame, as far as the file alone can tell."""
    return isinstance(example, dict) and "data" in example and set(example) <= SPLIT_KEYS


def _to_dict(frame: pd.DataFrame) -> Any:
    return frame.to_dict(orient="records")[0] if len(frame) == 1 else frame


def _to_records(frame: pd.DataFrame) -> Any:
    return frame.to_dict(orient="records")


def _to_list(frame: pd.DataFrame) -> Any:
    return frame.iloc[:, 0].tolist() if len(frame.columns) == 1 else _to_records(frame)


def _to_scalar(frame: pd.DataFrame) -> Any:
    return frame.iloc[0, 0]
