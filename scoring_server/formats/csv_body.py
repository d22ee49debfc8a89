"""CSV bodies and files: which lines are rows, which types the columns get."""

from __future__ import annotations

import io
from typing import Any, Dict, Optional

import numpy as np
import pandas as pd

from ..errors import ScoringError, quote
from ..signature.schema import DATETIME, DataType
from ..signature.signature import Signature

# One line of numbers longer than this is not looked at: it is taken for a header.
MAX_NUMERIC_LINE = 1000000


def parse_csv(body: bytes, header: Optional[bool], signature: Signature) -> pd.DataFrame:
    """Read a CSV body; raises `ScoringError`.

    `header` says whether the first line has names (RFC 4180's `header` parameter); None leaves it
    to the body: one single line of nothing but numbers is a row, everything else has a header.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScoringError("the body is not UTF-8: {}".format(error)) from error
    if header is None:
        header = not _is_one_numeric_line(text)
    # Of bytes: pandas would encode text again.
    source = io.BytesIO(body)
    try:
        frame = read_csv(source, signature) if header else _read_rows(source, signature)
    except ScoringError:
        raise
    except Exception as error:
        raise ScoringError("the body is not CSV that can be read: {}".format(error)) from error
    return cast_csv(frame, signature)


def read_csv(source: Any, signature: Signature, **options: Any) -> Any:
    """`pandas.read_csv` with the signature's types; raises what pandas raises."""
    return pd.read_csv(source, dtype=csv_dtypes(signature), **options)


def cast_csv(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """Cast what `read_csv` cannot: times and the columns of tensors; raises `ScoringError`."""
    if signature.csv_caster is None:
        return frame
    return signature.csv_caster.cast(frame)


def csv_dtypes(signature: Signature) -> Optional[Dict[Any, Any]]:
    """The dtype of each column of scalars, by name or (unnamed) by position."""
    schema = signature.schema
    if schema is None or schema.is_tensor:
        return None
    kinds = {name: getattr(spec, "type", None) for name, spec in zip(schema.names, schema.inputs)}
    return {
        # Times are read as text and cast later: a number in a CSV is no count of nanoseconds.
        name: np.dtype(object) if kind is DATETIME else kind.pandas
        for name, kind in kinds.items()
        if isinstance(kind, DataType)
    }


def _read_rows(source: Any, signature: Signature) -> pd.DataFrame:
    """Rows without a header: the columns are the signature's, in its order."""
    schema = signature.schema
    if schema is None or not schema.is_named:
        return pd.read_csv(source, header=None, dtype=csv_dtypes(signature))
    frame = pd.read_csv(source, header=None, dtype=object)
    if len(frame.columns) != len(schema):
        raise ScoringError(
            "without a header, expected {} columns ({}), got {}".format(
                len(schema), quote(schema.names), len(frame.columns)
            )
        )
    rows = frame.to_csv(index=False, header=[str(name) for name in schema.names])
    return read_csv(io.StringIO(rows), signature)


def _is_one_numeric_line(text: str) -> bool:
    line = text.strip()
    if not line or "\n" in line or len(line) > MAX_NUMERIC_LINE:
        return False
    try:
        return bool([float(item) for item in line.split(",")])
    except ValueError:
        return False
