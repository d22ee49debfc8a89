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
# What of an example is shown: rows, and bytes in all.
_ROWS_BELOW = ("dataframe_", "instances", "inputs")
_EXAMPLE_ROWS = 3
_LONGEST_EXAMPLE = 50000


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


def example_request(model: ModelConfig) -> Any:
    """The body for `/invocations` that the model's input example makes, its first rows only.

    None where there is none, or none that can be read: a description can do without it.
    """
    info = model.saved_input_example_info or {}
    try:
        if info.get("serving_input_path"):
            return _shortened(_read(model, info["serving_input_path"]))
        if not info.get("artifact_path"):
            return None
        example = _read(model, info["artifact_path"])
    except (OSError, ValueError, RecursionError):
        return None
    kind, orient = info.get("type"), info.get("pandas_orient", "split")
    if kind == "dataframe":
        return _shortened({"dataframe_" + orient: example})
    if kind == "ndarray" and isinstance(example, dict):
        example = example.get(DATA_KEY, example)
    return _shortened({"inputs": example}) if kind in ("ndarray", "json_object") else None


def _read(model: ModelConfig, name: str) -> Any:
    folder = Path(model.path).resolve()
    path = (folder / name).resolve()
    if folder not in path.parents or not path.is_file():
        raise ValueError("The example is not in the model's folder.")
    return json.loads(path.read_text(encoding="utf-8"))


def _shortened(body: Any) -> Any:
    """The body with a few rows; None where it is large all the same."""
    if isinstance(body, dict):
        body = {
            name: _first_rows(value) if name.startswith(_ROWS_BELOW) else value
            for name, value in body.items()
        }
    return body if len(json.dumps(body)) <= _LONGEST_EXAMPLE else None


def _first_rows(value: Any) -> Any:
    if isinstance(value, list):
        return value[:_EXAMPLE_ROWS]
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        short = {name: value[name] for name in value if name != "index"}
        return {**short, "data": value["data"][:_EXAMPLE_ROWS]}
    return value


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
