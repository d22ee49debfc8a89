"""Parquet bodies, with a bound on what they decode to.

Run-length and dictionary encoding make gigabytes of a few kilobytes. Columns of fixed width are
counted before they are read; text and nested columns, whose size nothing tells, are read in
batches so small that one batch stays within the bound, and added up.
"""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from ..errors import ScoringError, reason

MISSING_STATUS = 415
TOO_LARGE = 413
BATCH_ROWS = 65536


def read_parquet(body: bytes, max_decoded: int) -> pd.DataFrame:
    """Read a Parquet body.

    :param max_decoded: most bytes that it may decode to.
    :raises ScoringError: it is no Parquet file, decodes to more, or pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return _read_with_pandas(body)
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(body))
        return _read_within(pyarrow, file, max_decoded).to_pandas()
    except ScoringError:
        raise
    except Exception as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> ScoringError:
    """The error for what is no Parquet file, or a damaged one."""
    return ScoringError("The data is not a readable Parquet file: {}.".format(reason(error)))


def _read_with_pandas(body: bytes) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(body))
    except ImportError as error:
        raise ScoringError(
            "Parquet needs the package pyarrow in the model's environment.", status=MISSING_STATUS
        ) from error
    except Exception as error:
        raise unreadable(error) from error


def _read_within(pyarrow: Any, file: Any, limit: int) -> Any:
    # Only the file's and the row groups' own fields: pyarrow ends the process, without an
    # exception, when it meets a damaged column chunk while it describes it.
    metadata, schema = file.metadata, file.schema_arrow
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    encoded = sum(group.total_byte_size for group in groups)
    rows = sum(group.num_rows for group in groups)
    widths = [_width(field.type) for field in schema]
    if max(encoded, rows * sum(width or 0 for width in widths)) > limit:
        raise _too_large(limit)
    if None not in widths:
        return file.read()
    # The footer may lie about what is encoded: the first row tells how large a row can be.
    first = next(file.iter_batches(batch_size=1), None)
    largest = max(encoded, 1 if first is None else first.nbytes)
    batch_rows = max(1, min(BATCH_ROWS, limit // max(1, largest)))
    batches, decoded = [], 0
    for batch in file.iter_batches(batch_size=batch_rows):
        decoded += batch.nbytes
        if decoded > limit:
            raise _too_large(limit)
        batches.append(batch)
    table = pyarrow.Table.from_batches(batches, batches[0].schema if batches else schema)
    # The note of pandas in there knows the index and the dtypes.
    return table.replace_schema_metadata(schema.metadata)


def _width(kind: Any) -> Any:
    """Bytes a value takes when decoded, None where that differs from value to value."""
    try:
        return max(1, kind.bit_width // 8)
    except ValueError:
        return None


def _too_large(limit: int) -> ScoringError:
    return ScoringError(
        "The Parquet file decodes to more than {} bytes.".format(limit), status=TOO_LARGE
    )
