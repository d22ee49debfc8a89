"""The requests and files that are sent: rows of iris measures in each format."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
MEAN, SPREAD = [5.84, 3.06, 3.76, 1.20], [0.83, 0.44, 1.77, 0.76]
CONTENT_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
# What the models say to the rows of `three_rows`.
THREE_SPECIES = ["setosa", "versicolor", "virginica"]


def three_rows() -> bytes:
    """A JSON body (`dataframe_split`) of three rows."""
    rows = [[5.1, 3.5, 1.4, 0.2], [5.0, 2.0, 3.5, 1.0], [6.3, 3.3, 6.0, 2.5]]
    return json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode()


def many_rows(count: int, seed: int = 0) -> pd.DataFrame:
    """`count` rows of measures, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    values = random.normal(MEAN, SPREAD, size=(count, len(COLUMNS))).round(2)
    frame: pd.DataFrame = pd.DataFrame(values, columns=COLUMNS)
    return frame


def as_json(frame: pd.DataFrame) -> bytes:
    """A JSON body (`dataframe_split`) of a table."""
    split = frame.to_dict(orient="split", index=False)
    return json.dumps({"dataframe_split": split}).encode()


def as_v2(frame: pd.DataFrame) -> bytes:
    """A JSON body of the Open Inference Protocol of a table."""
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [len(frame), 1], "data": frame[name].tolist()}
        for name in frame
    ]
    return json.dumps({"inputs": inputs}).encode()


def as_v2_binary(frame: pd.DataFrame) -> tuple[bytes, int]:
    """The same with binary tensors, and how many of its bytes are JSON."""
    columns = [frame[name].to_numpy("<f8").tobytes() for name in frame]
    inputs = [
        {
            "name": name,
            "datatype": "FP64",
            "shape": [len(frame), 1],
            "parameters": {"binary_data_size": len(column)},
        }
        for name, column in zip(frame, columns, strict=True)
    ]
    text = json.dumps({"inputs": inputs}).encode()
    return b"".join([text, *columns]), len(text)


def write_bodies(frame: pd.DataFrame, folder: Path, parquet_python: Path) -> dict[str, Path]:
    """Write a table as the body of a request in each format; the paths by format.

    :param parquet_python: an interpreter that has pyarrow, which this one need not have.
    """
    import subprocess

    paths = {name: folder / f"rows.{name}" for name in CONTENT_TYPES}
    paths["json"].write_bytes(as_json(frame))
    frame.to_csv(paths["csv"], index=False)
    script = "import pandas, sys; pandas.read_csv(sys.argv[1]).to_parquet(sys.argv[2])"
    subprocess.run(
        [str(parquet_python), "-c", script, str(paths["csv"]), str(paths["parquet"])],
        check=True,
        timeout=60,
    )
    return paths


def write_csv(path: Path, megabytes: float) -> int:
    """Write a CSV file of about that size, unless it is there; returns its size in bytes."""
    wanted = int(megabytes * 1e6)
    if not path.is_file() or path.stat().st_size < wanted:
        text = io.StringIO()
        many_rows(100_000).to_csv(text, index=False, header=False)
        block = text.getvalue()
        with path.open("w") as file:
            file.write(",".join(COLUMNS) + "\n")
            while file.tell() < wanted:
                file.write(block)
    return path.stat().st_size
