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

from .config import ModelConfig

Convert = Callable[[pd.DataFrame], Any]

# What MLflow calls the two parts of an example that was logged with params.
DATA_KEY = "inputs"


def example_conversion(model: ModelConfig) -> Optional[Convert]:
    """The function that gives a DataFrame the form of the model's example; None to leave it.

    Raises `OSError` or `ValueError` where the example cannot be read.
    """
    info = model.saved_input_example_info
    if not model.type_hint_from_example or not info or info.get("type") != "json_object":
        return None
    path = Path(model.path, info.get("artifact_path") or "input_example.json")
    example = json.loads(path.read_text(encoding="utf-8"))
    if info.get("params") and isinstance(example, dict):
        example = example.get(DATA_KEY, example)
    if isinstance(example, dict):
        return _to_dict
    if isinstance(example, list):
        scalars = all(np.isscalar(item) for item in example)
        return _to_list if scalars else _to_records
    return _to_scalar if np.isscalar(example) else None


def _to_dict(frame: pd.DataFrame) -> Any:
    return frame.to_dict(orient="records")[0] if len(frame) == 1 else frame


def _to_records(frame: pd.DataFrame) -> Any:
    return frame.to_dict(orient="records")


def _to_list(frame: pd.DataFrame) -> Any:
    return frame.iloc[:, 0].tolist() if len(frame.columns) == 1 else _to_records(frame)


def _to_scalar(frame: pd.DataFrame) -> Any:
    return frame.iloc[0, 0]
