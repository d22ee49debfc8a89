"""Tables, their bodies in each format, and the library that reads each; a model for them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from benchmarks.bodies import as_v2, as_v2_binary

ARROW = "application/vnd.apache.arrow.stream"
V2_PATH = "/v2/models/rows/infer"
MODEL = """
import numpy

class Model:
    def predict(self, model_input):
        return numpy.zeros(1)

def _load_pyfunc(path):
    return Model()
"""
_TYPES = {"f": "double", "i": "long", "M": "datetime"}


class Body(NamedTuple):
    """One body, how it is sent, and the table that the library alone makes of it."""

    name: str
    data: bytes
    headers: dict[str, str]
    alone: Callable[[bytes], Any]
    path: str = "/invocations"


def numbers(rows: int, columns: int = 4) -> pd.DataFrame:
    """A table of doubles with a few digits, as measures have."""
    random = np.random.default_rng(16)
    names = [f"column_{number}" for number in range(columns)]
    values = random.normal(5, 2, size=(rows, columns)).round(2)
    frame: pd.DataFrame = pd.DataFrame(values, columns=names)
    return frame


def mixed(rows: int) -> pd.DataFrame:
    """Doubles, integers, texts and times."""
    random = np.random.default_rng(16)
    words = np.array(["setosa", "versicolor", "virginica", "ånother one"], dtype=object)
    frame: pd.DataFrame = numbers(rows, 2).assign(
        count=random.integers(0, 1000, rows),
        word=words[random.integers(0, len(words), rows)],
        at=pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**7, rows), "s"),
    )
    return frame


def bodies(frame: pd.DataFrame) -> Iterator[Body]:
    """A table as a body in each format."""
    times = [str(name) for name in frame if frame[name].dtype.kind == "M"]

    def dated(made: pd.DataFrame) -> pd.DataFrame:
        # Times are texts in JSON and CSV: whoever reads them makes times of them.
        for name in times:
            made[name] = pd.to_datetime(made[name])
        return made

    def from_split(data: bytes) -> Any:
        split = orjson.loads(data)["dataframe_split"]
        return dated(pd.DataFrame(split["data"], columns=split["columns"]))

    def from_records(data: bytes) -> Any:
        return dated(pd.DataFrame(orjson.loads(data)["dataframe_records"]))

    texts = frame.assign(**{name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S") for name in times})
    split = {"columns": list(texts), "data": texts.to_numpy(object).tolist()}
    plain = {"content-type": "application/json"}
    yield Body("JSON, split", orjson.dumps({"dataframe_split": split}), plain, from_split)
    records = {"dataframe_records": texts.to_dict(orient="records")}
    yield Body("JSON, records", orjson.dumps(records), plain, from_records)

    csv = texts.to_csv(index=False).encode()
    yield Body(
        "CSV", csv, {"content-type": "text/csv"}, lambda data: dated(pd.read_csv(io.BytesIO(data)))
    )
    parquet = io.BytesIO()
    frame.to_parquet(parquet)
    yield Body(
        "Parquet",
        parquet.getvalue(),
        {"content-type": "application/vnd.apache.parquet"},
        lambda data: pa.parquet.read_table(io.BytesIO(data)).to_pandas(),
    )
    yield from _arrow_bodies(frame)
    if not times and all(frame.dtypes == np.float64):
        yield from _v2_bodies(frame)


def _arrow_bodies(frame: pd.DataFrame) -> Iterator[Body]:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for compression in (None, "zstd"):
        stream = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
            writer.write_table(table)
        yield Body(
            "Arrow" if compression is None else f"Arrow, {compression}",
            stream.getvalue(),
            {"content-type": ARROW},
            lambda data: pa.ipc.open_stream(data).read_pandas(),
        )


def _v2_bodies(frame: pd.DataFrame) -> Iterator[Body]:
    def from_v2(data: bytes) -> Any:
        inputs = orjson.loads(data)["inputs"]
        return pd.DataFrame({each["name"]: np.array(each["data"]) for each in inputs})

    def from_binary(data: bytes) -> Any:
        at, columns = length, {}
        for each in orjson.loads(data[:length])["inputs"]:
            columns[each["name"]] = np.frombuffer(data, "<f8", len(frame), at)
            at += columns[each["name"]].nbytes
        return pd.DataFrame(columns)

    yield Body("V2, JSON", as_v2(frame), {"content-type": "application/json"}, from_v2, V2_PATH)
    binary, length = as_v2_binary(frame)
    head = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(length),
    }
    yield Body("V2, binary", binary, head, from_binary, V2_PATH)


def write_config(folder: Path, frame: pd.DataFrame, **server: Any) -> Path:
    """Write a model that answers at once, with the table's signature; its configuration."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "loader_of_nothing.py").write_text(MODEL)
    inputs = [
        {"name": name, "type": _TYPES.get(frame[name].dtype.kind, "string")} for name in frame
    ]
    flavor = {"loader_module": "loader_of_nothing", "code": "code"}
    model = {
        "path": str(folder),
        "names": ["rows"],
        "flavors": {"python_function": flavor},
        "signature": {"inputs": inputs, "outputs": None, "params": None},
    }
    path = folder / "config.json"
    path.write_text(json.dumps({"config_version": 1, "model": model, "server": server}))
    return path
