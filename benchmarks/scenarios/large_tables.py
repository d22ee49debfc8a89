"""Large tables in a request, in a file, and how long a start takes."""

from __future__ import annotations

import contextlib
import filecmp
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import requests

from benchmarks import bodies
from benchmarks.installing import IN_ENVIRONMENT, install, launcher_environ
from benchmarks.load import post
from benchmarks.peers.registry import FILE_READERS, LAUNCHER, PEERS
from benchmarks.running import HOST, THREADS, free_port, serve
from benchmarks.scenarios.plan import (
    Plan,
    Sample,
    WrongAnswerError,
    check_answer,
    inside,
    logistic,
    start_sample,
    write_config,
)

TABLE_ROWS = 10_000
TABLE_PEERS = (LAUNCHER, "mlflow")
# Time and memory of `predict` are compared with these; see `in_environment/file_loops.py`.
FILE_FORMATS = ("csv", "parquet")


def tables(plan: Plan) -> Iterator[Sample]:
    """10,000 rows in one request, in each format: over HTTP, and each step in one process."""
    own, mlflow = install(PEERS[LAUNCHER], plan.cache), install(PEERS["mlflow"], plan.cache)
    model = logistic(plan)
    frame = bodies.many_rows(TABLE_ROWS)
    paths = bodies.write_bodies(frame, plan.cache, mlflow)
    listed = [str(path) for path in paths.values()]
    wanted = None
    for name in TABLE_PEERS:
        peer = PEERS[name]
        with serve(peer, install(peer, plan.cache), model, plan.cache) as running:
            url = running.url + "/invocations"
            for form, path in paths.items():
                if name == "mlflow" and form == "parquet":
                    continue  # it has no such format
                kind = bodies.CONTENT_TYPES[form]
                answer = requests.post(
                    url, data=path.read_bytes(), headers={"Content-Type": kind}, timeout=60
                )
                wanted = wanted or answer.json()["predictions"]
                check_answer(url, path.read_bytes(), kind, wanted)
                load = post(url, path, kind, 1, plan.seconds)
                yield {"scenario": "table", "peer": name, "format": form, "p50_ms": load.p50_ms}
    config = write_config(model, plan.cache)
    for peer_name, what, subject in (
        ("pandas", "table_floor", str(model)),
        ("scoring server", "table_server", str(config)),
    ):
        for form, stages in inside(own, what, subject, "30", *listed).items():
            yield {"scenario": "table stages", "peer": peer_name, "format": form, **stages}


def starts(plan: Plan) -> Iterator[Sample]:
    """From nothing to the first 200 on /ping, the environment being there; and less than that."""
    own, mlflow = install(PEERS[LAUNCHER], plan.cache), install(PEERS["mlflow"], plan.cache)
    model = logistic(plan)
    for way in ("pickle", "mlflow"):
        started = time.perf_counter()
        inside(own, "start", str(model), way)
        took = time.perf_counter() - started
        yield {"scenario": "start", "peer": f"bare Python, {way}", "seconds": took}
    for name, python in ((LAUNCHER, own), ("mlflow", mlflow)):
        with serve(PEERS[name], python, model, plan.cache) as running:
            yield start_sample(name, running)
    yield {
        "scenario": "launch",
        "peer": LAUNCHER,
        "seconds": seconds_to_launch(model, plan.cache),
    }


def seconds_to_launch(model: Path, cache: Path) -> float:
    """From the call of `launcher serve` until the server's process is there."""
    command = [sys.executable, "-m", "launcher", "serve", "-m", str(model), "-h", HOST]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-p", str(free_port())],
        env=launcher_environ(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        parent = psutil.Process(process.pid)
        while not parent.children() and time.perf_counter() - started < 30:
            time.sleep(0.002)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)


def files(plan: Plan) -> Iterator[Sample]:
    """`predict` on a large file beside loops written by hand: pandas, DuckDB, Polars.

    That of pandas runs in the launcher's environment for the model, the others in one with the
    same releases of numpy and scikit-learn. All read the same file, and write the same CSV.
    """
    own, others = install(PEERS[LAUNCHER], plan.cache), install(FILE_READERS, plan.cache)
    model = str(logistic(plan))
    sources = {"csv": plan.cache / "large.csv", "parquet": plan.cache / "large.parquet"}
    size = bodies.write_csv(sources["csv"], plan.csv_megabytes) / 1e6
    loops = str(IN_ENVIRONMENT / "file_loops.py")
    subprocess.run(
        [str(others), loops, "to_parquet", *map(str, sources.values())], check=True, timeout=600
    )
    for form in FILE_FORMATS:
        source, wanted = str(sources[form]), plan.cache / f"predictions-{LAUNCHER}.csv"
        launched = [sys.executable, "-m", "launcher", "predict", "-m", model, "-i", source, "-o"]
        commands = {
            LAUNCHER: launched,
            "pandas": [str(own), loops, "with_pandas", model, source],
            "DuckDB": [str(others), loops, "with_duckdb", model, source],
            "Polars": [str(others), loops, "with_polars", model, source],
        }
        for name, command in commands.items():
            target = plan.cache / f"predictions-{name}.csv"
            target.unlink(missing_ok=True)
            seconds, peak = _timed_with_peak([*command, str(target)], plan.cache)
            rows = _same_rows(wanted, target)
            found = {"megabytes": size, "seconds": seconds, "peak_mb": peak, "rows": rows}
            yield {"scenario": "file", "format": form, "peer": name, **found}


def _same_rows(wanted: Path, found: Path) -> int:
    """How many predictions a file has; raises `WrongAnswerError` where another has others."""
    if not filecmp.cmp(wanted, found, shallow=False):
        raise WrongAnswerError(f"{found} is not {wanted}")
    with found.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b"")) - 1


def _timed_with_peak(command: list[str], cache: Path) -> tuple[float, float]:
    """The seconds that a command takes, and the most memory (MB) that its processes have."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**launcher_environ(cache), **THREADS}, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    parent = psutil.Process(process.pid)
    while True:
        with contextlib.suppress(psutil.Error):
            family = [parent, *parent.children(recursive=True)]
            peak = max(peak, sum(each.memory_info().rss for each in family) / 1e6)
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return time.perf_counter() - started, peak
