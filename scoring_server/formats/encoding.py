"""A model's answer turned into JSON, as MLflow does it.

`predictions` holds arrays as nested lists, DataFrames and Series as lists of records, times in
ISO 8601, bytes in base64. NaN and infinities, which JSON does not have, become `null` (MLflow
writes the words NaN and Infinity).
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any

import numpy as np
import pandas as pd

from ..errors import INTERNAL_ERROR, ScoringError, reason
from . import json_body

if json_body.orjson is not None:
    _ORJSON_OPTIONS = (
        json_body.orjson.OPT_NON_STR_KEYS
        | json_body.orjson.OPT_PASSTHROUGH_DATETIME
        | json_body.orjson.OPT_PASSTHROUGH_DATACLASS
    )


def encode_answer(predictions: Any, is_raw: bool = False) -> bytes:
    """The body of an answer: {"predictions": ...}, or the predictions alone for a raw payload.

    :raises ScoringError: the model returned what JSON cannot hold (INTERNAL_ERROR).
    """
    plain = top_level(predictions)
    return dumps(plain if is_raw else {"predictions": plain})


def top_level(predictions: Any) -> Any:
    """Lists, records and the like in place of arrays, DataFrames and Series."""
    if isinstance(predictions, np.ndarray):
        return predictions.tolist()
    if isinstance(predictions, pd.Series):
        predictions = pd.DataFrame(predictions)
    if isinstance(predictions, pd.DataFrame):
        return _records(predictions)
    return predictions


def _records(frame: pd.DataFrame) -> Any:
    if not frame.columns.is_unique:
        return frame.to_dict(orient="records")
    names = list(frame.columns)
    columns = [frame[name].tolist() for name in names]
    return [dict(zip(names, row)) for row in zip(*columns)]


def dumps(value: Any) -> bytes:
    """Encode a value.

    :raises ScoringError: JSON cannot hold it (INTERNAL_ERROR).
    """
    try:
        if json_body.orjson is not None:
            try:
                return json_body.orjson.dumps(value, default=_default, option=_ORJSON_OPTIONS)
            except TypeError:
                # Integers beyond 64 bits, lone surrogates and the like: json has the last word.
                pass
        try:
            return json.dumps(value, default=_default, allow_nan=False).encode("ascii")
        except ValueError:
            return json.dumps(_without_nan(value), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ScoringError(
            "The model's answer cannot be encoded as JSON: {}.".format(reason(error)),
            INTERNAL_ERROR,
        ) from error


def _default(value: Any) -> Any:
    """What a value that JSON does not know is written as; json wants `TypeError` for others."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bytes, bytearray)):
        # With a newline after each 76 characters, as MLflow does.
        return base64.encodebytes(value).decode("ascii")
    if value is pd.NaT or value is getattr(pd, "NA", None):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return top_level(value)
    if hasattr(value, "toarray"):
        return value.toarray().tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    raise TypeError("{} is not JSON serializable".format(type(value).__name__))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return _without_nan(_default(value))
