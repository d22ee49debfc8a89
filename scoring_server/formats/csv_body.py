"""CSV bodies and files: which lines are rows, which types the columns get."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Dict, List, Optional

import numpy as np
import pandas as pd

from ..errors import ScoringError, quote, reason, schema_error
from ..signature.schema import DATETIME, DataType
from ..signature.signature import Signature

# Beyond so many columns more than the signature has, only those of the signature are read: pandas
# takes 0.1 ms for each, whatever is in it.
SPARE_COLUMNS = 100
MAX_COLUMNS = 65536
# One line of numbers longer than this is not looked at: it is taken for a header.
MAX_NUMERIC_LINE = 1000000
_TWO_LINES = re.compile(rb"\s*\S[^\n]*\n\s*\S")


def parse_csv(body: bytes, header: Optional[bool], signature: Signature) -> pd.DataFrame:
    """Read a CSV body.

    :param header: whether the first line has names (RFC 4180's `header` parameter); None leaves it
        to the body: one single line of nothing but numbers is a row, everything else has a header.
    :raises ScoringError: it is not CSV, or does not fit the signature.
    """
    try:
        if not body.isascii():
            body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScoringError("The body is not UTF-8: {}.".format(error)) from error
    if header is None:
        header = not _is_one_numeric_line(body)
    # Of bytes: pandas would encode text again.
    source = io.BytesIO(body)
    try:
        if header:
            frame = read_csv(source, signature, usecols=_wanted_columns(body, signature))
        else:
            _refuse_other_width(body, signature)
            frame = _read_rows(source, signature)
    except ScoringError:
        raise
    except Exception as error:
        raise ScoringError("The body is not readable CSV: {}.".format(reason(error))) from error
    return cast_csv(frame, signature)


def read_csv(source: Any, signature: Signature, **options: Any) -> Any:
    """`pandas.read_csv` with the signature's types."""
    return pd.read_csv(source, dtype=csv_dtypes(signature), **options)


def _wanted_columns(body: bytes, signature: Signature) -> Optional[List[Any]]:
    """The names of the columns to read, None for all of them."""
    schema = signature.schema
    known = len(schema) if schema is not None and schema.is_named else 0
    # Counted in place: to cut the first line off would copy all others.
    end = body.find(b"\n")
    if body.count(b",", 0, len(body) if end < 0 else end) < known + SPARE_COLUMNS:
        return None
    names = _first_row(body)
    if schema is None or not schema.is_named or schema.is_tensor:
        if len(names) > MAX_COLUMNS:
            raise ScoringError("The body has more than {} columns.".format(MAX_COLUMNS))
        return None
    present = set(names)
    missing = [name for name in schema.required_names if name not in present]
    if missing:
        raise schema_error("The inputs {} are missing.".format(quote(missing)))
    return [name for name in schema.names if name in present]


def cast_csv(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """Cast what `read_csv` cannot: times and the columns of tensors.

    :raises ScoringError: a column cannot be cast.
    """
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


def _first_row(body: bytes) -> List[str]:
    lines = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="\n")
    return next(csv.reader(lines), [])


def _refuse_other_width(body: bytes, signature: Signature) -> None:
    """Refuse rows without a header that have not the signature's columns."""
    schema = signature.schema
    width = len(_first_row(body))
    if schema is not None and schema.is_named and 0 < width != len(schema):
        raise ScoringError(
            "Expected {} columns without a header ({}), got {}.".format(
                len(schema), quote(schema.names), width
            )
        )
    if width > MAX_COLUMNS:
        raise ScoringError("The body has more than {} columns.".format(MAX_COLUMNS))


def _read_rows(source: Any, signature: Signature) -> pd.DataFrame:
    """Rows without a header: the columns are the signature's, in its order."""
    schema = signature.schema
    if schema is None or not schema.is_named:
        return pd.read_csv(source, header=None, dtype=csv_dtypes(signature))
    frame = pd.read_csv(source, header=None, dtype=object)
    rows = frame.to_csv(index=False, header=[str(name) for name in schema.names])
    return read_csv(io.StringIO(rows), signature)


def _is_one_numeric_line(body: bytes) -> bool:
    if _TWO_LINES.match(body):
        return False
    line = body.strip()
    if not line or len(line) > MAX_NUMERIC_LINE:
        return False
    try:
        return bool([float(item) for item in line.decode("utf-8").split(",")])
    except ValueError:
        return False
