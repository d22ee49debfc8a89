"""What a model is asked and what it answers: Python values on one side, MLflow's JSON on the other.

Of pandas and numpy only what the caller has imported is looked for; an answer that is a table or an
array has them imported.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from datetime import date, time
from typing import Any


def document_of(data: Any, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON values of a request, but for scalars and arrays, which `encode` knows.

    :param data: a DataFrame; an array, or a dict of arrays; a list of records, or of anything else;
        a dict, which is sent as it is.
    :param params: join it.
    :raises TypeError: it is none of these.
    """
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    document: dict[str, Any]
    if pandas is not None and isinstance(data, pandas.DataFrame):
        document = {"dataframe_split": {"columns": list(data.columns), "data": _rows(data)}}
    elif numpy is not None and isinstance(data, numpy.ndarray):
        document = {"inputs": data}
    elif isinstance(data, list):
        is_table = bool(data) and all(isinstance(each, dict) for each in data)
        document = {"dataframe_records" if is_table else "inputs": data}
    elif isinstance(data, Mapping):
        arrays = numpy is not None and any(isinstance(v, numpy.ndarray) for v in data.values())
        document = {"inputs": dict(data)} if arrays else dict(data)
    else:
        raise TypeError(
            f"A model is asked by a DataFrame, an array, a dict or a list, not {type(data)!r}."
        )
    if params is not None:
        document["params"] = {**(document.get("params") or {}), **params}
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON; arrays as lists, times in ISO 8601, bytes in base64.

    :raises TypeError: a value has no such form.
    """
    return json.dumps(document, default=_plain).encode()


def value_of(answer: bytes) -> Any:
    """What a model has answered.

    :returns: of ``predictions`` records with the same names as a DataFrame; numbers, texts or rows
        of numbers as an array; all else as JSON has it. Without ``predictions`` the whole answer;
        a stream's is text.
    """
    try:
        document = json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")
    if not isinstance(document, dict) or "predictions" not in document:
        return document
    found = document["predictions"]
    if not isinstance(found, list) or not found:
        return found
    if all(isinstance(row, dict) and row.keys() == found[0].keys() for row in found):
        import pandas as pd

        return pd.DataFrame(found)
    return _array(found)


def _array(values: list[Any]) -> Any:
    """Texts, numbers, or rows of numbers as an array; other values as they are."""
    import numpy as np

    if all(isinstance(each, str) for each in values):
        return np.array(values, dtype=object)
    try:
        array = np.array(values)
    except ValueError:  # rows of several lengths
        return values
    if array.dtype.kind in "iufb":
        return array
    # Missing numbers are null.
    if all(isinstance(each, (int, float, type(None))) for each in array.flat):
        return values if all(each is None for each in array.flat) else array.astype(float)
    return values


def _rows(frame: Any) -> list[list[Any]]:
    columns = [_cells(frame.iloc[:, number]) for number in range(frame.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def _cells(column: Any) -> list[Any]:
    values: list[Any] = column.tolist()
    if column.dtype == float:
        return values  # NaN is read as what it is
    return [
        None if is_missing else value
        for value, is_missing in zip(values, column.isna(), strict=True)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (date, time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, "dtype"):  # of numpy
        import numpy as np

        if value.dtype.kind == "M":
            return np.datetime_as_string(value).tolist()
        return value.tolist()
    raise TypeError(f"{value!r} of {type(value)!r} has no form in JSON.")
