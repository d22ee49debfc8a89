"""Measured inside the model's environment, by its Python: ``python inside.py WHAT ARGUMENTS``.

Each prints one JSON object. They are what the servers are compared with: the same work done by a
few lines that know the model, with the fastest parser that the environment has.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

parser: Any = json
with contextlib.suppress(ImportError):
    parser = importlib.import_module("orjson")


def load(model: str) -> Any:
    """Import and load, as in a program that knows the model."""
    import pandas  # noqa: F401

    with Path(model, "model.pkl").open("rb") as file:
        return pickle.load(file)


def load_with_mlflow(model: str) -> Any:
    """Import and load as MLflow's documentation does it."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(model)


def one_request(model: str, body_path: str, count: str, way: str) -> dict[str, float]:
    """Parse, predict, encode, again and again: the median of each in milliseconds.

    :param way: `dataframe`, or `array`: the same numbers without names.
    """
    import numpy
    import pandas as pd

    loaded = load(model)
    if way == "array":
        # scikit-learn would warn at each request that an array has no names.
        del loaded.feature_names_in_
    body = Path(body_path).read_bytes()
    stages = ("json", "table", "predict", "encode")
    times: dict[str, list[float]] = {name: [] for name in (*stages, "total")}
    for _ in range(int(count)):
        began = time.perf_counter()
        split = parser.loads(body)["dataframe_split"]
        parsed = time.perf_counter()
        table: Any
        if way == "array":
            table = numpy.array(split["data"])
        else:
            table = pd.DataFrame(split["data"], columns=split["columns"])
        made = time.perf_counter()
        predictions = loaded.predict(table)
        predicted = time.perf_counter()
        answer = parser.dumps({"predictions": predictions.tolist()})
        clocks = (began, parsed, made, predicted, time.perf_counter())
        for name, start, end in zip(stages, clocks, clocks[1:]):  # noqa: B905 - its Python may be older
            times[name].append((end - start) * 1e3)
        times["total"].append((clocks[-1] - began) * 1e3)
    assert answer
    return {name: statistics.median(values) for name, values in times.items()}


def table_floor(
    model: str, count: str, json_path: str, csv_path: str, parquet_path: str
) -> dict[str, dict[str, float]]:
    """What pandas, pyarrow and the JSON parser cost for one body of each format, in ms."""
    import io

    import pandas as pd

    loaded = load(model)

    def from_json(body: bytes) -> Any:
        split = parser.loads(body)["dataframe_split"]
        return pd.DataFrame(split["data"], columns=split["columns"])

    readers: dict[str, tuple[str, Callable[[bytes], Any]]] = {
        "json": (json_path, from_json),
        "csv": (csv_path, lambda body: pd.read_csv(io.BytesIO(body))),
        "parquet": (parquet_path, lambda body: pd.read_parquet(io.BytesIO(body))),
    }
    found = {}
    for name, (path, read) in readers.items():
        body = Path(path).read_bytes()
        times: dict[str, list[float]] = {"parse": [], "predict": [], "encode": []}
        for _ in range(int(count)):
            t0 = time.perf_counter()
            frame = read(body)
            t1 = time.perf_counter()
            predictions = loaded.predict(frame)
            t2 = time.perf_counter()
            parser.dumps({"predictions": predictions.tolist()})
            times["parse"].append((t1 - t0) * 1e3)
            times["predict"].append((t2 - t1) * 1e3)
            times["encode"].append((time.perf_counter() - t2) * 1e3)
        found[name] = {stage: statistics.median(values) for stage, values in times.items()}
    return found


def table_server(
    config_path: str, count: str, json_path: str, csv_path: str, parquet_path: str
) -> dict[str, dict[str, float]]:
    """What the scoring server's own steps take for the same bodies, in ms."""
    from scoring_server.config import ServerConfig
    from scoring_server.model.loading import load_model
    from scoring_server.protocols.mlflow import MlflowProtocol
    from scoring_server.routes import Request
    from scoring_server.scoring.application import Application

    config = ServerConfig.read(config_path)
    application, protocol = Application(config, load_model(config)), MlflowProtocol(config)
    bodies = (
        ("json", "application/json", json_path),
        ("csv", "text/csv", csv_path),
        ("parquet", "application/x-parquet", parquet_path),
    )
    found = {}
    for name, content_type, path in bodies:
        body = Path(path).read_bytes()
        headers = {"content-type": content_type}
        request = Request(
            protocol, protocol.routes[0], "POST", "/invocations", {}, "", headers, body
        )
        times: dict[str, list[float]] = {"parse": [], "predict": [], "encode": []}
        for _ in range(int(count)):
            for stage, seconds, _ in application.answer(request).stages:
                times[stage].append(seconds * 1e3)
        found[name] = {stage: statistics.median(values) for stage, values in times.items()}
    return found


def blas() -> list[dict[str, Any]]:
    """The libraries that have threads of their own, as they are once scikit-learn is imported."""
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_info

    kept = ("user_api", "internal_api", "version", "num_threads", "architecture")
    return [{name: each.get(name) for name in kept} for each in threadpool_info()]


def start(model: str, way: str) -> dict[str, float]:
    """Import and load; nothing else. The caller takes the time of the whole process."""
    (load if way == "pickle" else load_with_mlflow)(model)
    return {}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"result": globals()[what](*arguments)}))
