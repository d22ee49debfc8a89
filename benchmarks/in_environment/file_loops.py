"""Score a file in chunks, by hand: ``python file_loops.py WAY MODEL SOURCE TARGET``.

WAY is `with_pandas`, `with_duckdb` or `with_polars`; SOURCE ends with `.csv` or `.parquet`. TARGET
becomes a CSV file with the column `predictions`. ``to_parquet SOURCE TARGET`` makes a Parquet file
of a CSV file, unless it is newer than that.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CHUNK_ROWS = 500_000


def score(model: str, tables: Iterable[Any], target: str) -> None:
    """Predict each table (a DataFrame or an array) and write the answers."""
    # That an array has no names.
    warnings.filterwarnings("ignore", category=UserWarning)
    with Path(model, "model.pkl").open("rb") as file:
        loaded = pickle.load(file)
    with Path(target).open("w") as output:
        output.write("predictions\n")
        for table in tables:
            output.write("\n".join(loaded.predict(table).tolist()) + "\n")


def with_pandas(model: str, source: str, target: str) -> None:
    """DataFrames from pandas."""
    import pandas as pd

    def tables() -> Iterator[Any]:
        if source.endswith(".csv"):
            yield from pd.read_csv(source, chunksize=CHUNK_ROWS)
            return
        from pyarrow.parquet import ParquetFile

        for batch in ParquetFile(source).iter_batches(CHUNK_ROWS):
            yield batch.to_pandas()

    score(model, tables(), target)


def with_duckdb(model: str, source: str, target: str) -> None:
    """Arrow's batches from DuckDB, as DataFrames."""
    import duckdb

    read = "read_csv" if source.endswith(".csv") else "read_parquet"
    # The order of the rows is the file's: DuckDB keeps it unless told otherwise.
    found = duckdb.sql(f"SELECT * FROM {read}('{source}')")
    score(model, (each.to_pandas() for each in found.to_arrow_reader(CHUNK_ROWS)), target)


def with_polars(model: str, source: str, target: str) -> None:
    """Arrays from Polars."""
    import polars

    scan = polars.scan_csv if source.endswith(".csv") else polars.scan_parquet
    batches = scan(source).collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True)
    score(model, (each.to_numpy() for each in batches), target)


def to_parquet(source: str, target: str) -> None:
    """Make a Parquet file of a CSV file."""
    if Path(target).is_file() and Path(target).stat().st_mtime > Path(source).stat().st_mtime:
        return
    import duckdb

    duckdb.sql(f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}' (FORMAT parquet)")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
