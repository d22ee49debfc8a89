"""Parquet bodies, with a bound on what they decode to.

Run-length and dictionary encoding make gigabytes of a few kilobytes; what a file says about itself
is checked first, and columns of text, whose size the metadata does not tell, are measured batch
by batch.
"""

from __future__ import annotations

import io
from typing import Any, Dict, List

import pandas as pd

from .errors import ScoringError

MISSING_STATUS = 415
TOO_LARGE = 413

# Bytes a value of each physical type takes when decoded; the rest are byte arrays.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


def read_parquet(body: bytes, max_decoded: int) -> pd.DataFrame:
    """Read a Parquet body that decodes to at most `max_decoded` bytes; raises `ScoringError`."""
    try:
        import pyarrow.parquet
    except ImportError:
        return _read_with_pandas(body)
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(body))
        _check_size(file, max_decoded)
        return file.read().to_pandas()
    except ScoringError:
        raise
    except Exception as error:
        raise ScoringError("the body is not a readable Parquet file: {}".format(error)) from error


def _read_with_pandas(body: bytes) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(body))
    except ImportError as error:
        raise ScoringError(
            "Parquet needs the package pyarrow in the model's environment", status=MISSING_STATUS
        ) from error
    except Exception as error:
        raise ScoringError("the body is not a readable Parquet file: {}".format(error)) from error


def _check_size(file: Any, limit: int) -> None:
    decoded = 0
    doubtful: Dict[str, int] = {}
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            size = column.total_uncompressed_size
            width = _WIDTHS.get(column.physical_type)
            if width is not None:
                decoded += column.num_values * width
            elif column.num_values * size > limit:
                # Each value may be as large as the whole dictionary.
                doubtful[column.path_in_schema] = max(size, doubtful.get(column.path_in_schema, 0))
            else:
                decoded += size
            if max(decoded, size) > limit:
                raise _too_large(limit)
    for path, size in doubtful.items():
        decoded += _measure(file, path, size, limit - decoded)


def _measure(file: Any, path: str, size: int, limit: int) -> int:
    """The decoded size of a column of byte arrays, of which none is larger than `size`."""
    total = 0
    columns: List[str] = [path]
    for batch in file.iter_batches(batch_size=max(1, min(65536, limit // size)), columns=columns):
        total += batch.nbytes
        if total > limit:
            raise _too_large(limit)
    return total


def _too_large(limit: int) -> ScoringError:
    return ScoringError(
        "the Parquet file decodes to more than {} bytes".format(limit), status=TOO_LARGE
    )
