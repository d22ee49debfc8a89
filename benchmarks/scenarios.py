"""What is measured. Each function is one round; rounds are repeated, so that the peers alternate.

A round returns samples: dictionaries with the scenario, who was measured, and numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks import bodies
from benchmarks.installing import ROOT, install, launcher_environ, model_for
from benchmarks.load import post
from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.running import HOST, Running, free_port, serve

Sample = dict[str, Any]

INSIDE = str(Path(__file__).with_name("inside.py"))
INSIDE_SECONDS = 900
WARM_UP_SECONDS = 1
FLOOR_TURNS = 5
TABLE_ROWS = 10_000
TABLE_PEERS = (LAUNCHER, "mlflow")
# Enough to keep two workers busy.
WORKER_CONNECTIONS = 8


class WrongAnswerError(RuntimeError):
    """A peer does not answer what the others answer."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :param seconds: of load for each point.
    :param csv_megabytes: size of the file for batch scoring.
    """

    cache: Path
    peers: tuple[str, ...]
    connections: tuple[int, ...]
    seconds: float
    repeats: int
    csv_megabytes: float


def serving(plan: Plan) -> Iterator[Sample]:
    """Throughput and latency of each peer at each number of connections; start and memory."""
    body = plan.cache / "three.json"
    body.write_bytes(bodies.three_rows())
    for name in plan.peers:
        peer = PEERS[name]
        python, model = install(peer, plan.cache), model_for(peer, "logistic", plan.cache)
        with serve(peer, python, model, plan.cache) as running:
            url = running.url + "/invocations"
            check_answer(url, body.read_bytes(), "application/json", bodies.THREE_SPECIES)
            yield _start_sample(name, running)
            post(url, body, "application/json", 4, WARM_UP_SECONDS)
            for connections in plan.connections:
                before = running.processor_seconds()
                load = post(url, body, "application/json", connections, plan.seconds)
                busy = (running.processor_seconds() - before) * 1e3 / load.requests
                found = {"rate": load.rate, "processor_ms": busy, **asdict(load)}
                yield {"scenario": "serving", "peer": name, **found}


def _logistic(plan: Plan) -> Path:
    """The model of most scenarios, as the launcher and the peers with its releases serve it."""
    return model_for(PEERS[LAUNCHER], "logistic", plan.cache)


def _start_sample(name: str, running: Running) -> Sample:
    parent, children = running.memory()
    return {
        "scenario": "start",
        "peer": name,
        "seconds": running.ready_seconds,
        "parent_rss_mb": running.process.memory_info().rss / 1e6,
        "parent_pss_mb": parent,
        "children_pss_mb": children,
    }


def check_answer(url: str, body: bytes, content_type: str, wanted: list[str]) -> None:
    """Post one body and compare the predictions; raises `WrongAnswerError`."""
    answer = requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=60)
    if answer.status_code != 200 or answer.json().get("predictions") != wanted:
        raise WrongAnswerError(f"{url} answers {answer.status_code} {answer.text[:200]}")


def floor(plan: Plan) -> Iterator[Sample]:
    """Parse, predict and encode three rows in one process, by a few lines of Python.

    Turn by turn with the launcher at one connection: the machine's speed changes within seconds.
    """
    peer = PEERS[LAUNCHER]
    python, model = install(peer, plan.cache), _logistic(plan)
    body = plan.cache / "three.json"
    body.write_bytes(bodies.three_rows())
    with serve(peer, python, model, plan.cache) as running:
        url = running.url + "/invocations"
        post(url, body, "application/json", 1, WARM_UP_SECONDS)
        for _ in range(FLOOR_TURNS):
            found = inside(python, "one_request", str(model), str(body), "2000")
            yield {"scenario": "floor", "peer": "one process", **found}
            load = post(url, body, "application/json", 1, plan.seconds)
            yield {"scenario": "floor", "peer": LAUNCHER, "p50_ms": load.p50_ms}


def workers(plan: Plan) -> Iterator[Sample]:
    """One and two workers, with a model that takes some 20 ms a request."""
    peer = PEERS[LAUNCHER]
    model = model_for(peer, "forest", plan.cache)
    body = plan.cache / "three.json"
    for count in (1, 2):
        with serve(peer, Path(sys.executable), model, plan.cache, workers=count) as running:
            url = running.url + "/invocations"
            post(url, body, "application/json", WORKER_CONNECTIONS, WARM_UP_SECONDS)
            load = post(url, body, "application/json", WORKER_CONNECTIONS, plan.seconds)
            found = {"rate": load.rate, "p50_ms": load.p50_ms, "errors": load.errors}
            yield {"scenario": "workers", "peer": LAUNCHER, "workers": count, **found}


def tables(plan: Plan) -> Iterator[Sample]:
    """10,000 rows in one request, in each format: over HTTP, and each step in one process."""
    own, mlflow = install(PEERS[LAUNCHER], plan.cache), install(PEERS["mlflow"], plan.cache)
    model = _logistic(plan)
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
    model = _logistic(plan)
    for way in ("pickle", "mlflow"):
        started = time.perf_counter()
        inside(own, "start", str(model), way)
        took = time.perf_counter() - started
        yield {"scenario": "start", "peer": f"bare Python, {way}", "seconds": took}
    for name, python in ((LAUNCHER, own), ("mlflow", mlflow)):
        with serve(PEERS[name], python, model, plan.cache) as running:
            yield _start_sample(name, running)
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


def batch(plan: Plan) -> Iterator[Sample]:
    """`predict` on a large CSV file, and a chunk loop written by hand in the same environment."""
    python = install(PEERS[LAUNCHER], plan.cache)
    model = _logistic(plan)
    source, target = plan.cache / "large.csv", plan.cache / "predictions.csv"
    size = bodies.write_csv(source, plan.csv_megabytes) / 1e6
    command = [sys.executable, "-m", "launcher", "predict", "-m", str(model)]
    command += ["-i", str(source), "-o", str(target)]
    for name, arguments in (
        (LAUNCHER, command),
        ("chunk loop", [str(python), INSIDE, "chunk_loop", str(model), str(source), str(target)]),
    ):
        seconds, peak = _timed_with_peak(arguments, plan.cache)
        with target.open() as file:
            rows = sum(1 for _ in file) - 1
        found = {"megabytes": size, "seconds": seconds, "peak_mb": peak, "rows": rows}
        yield {"scenario": "batch", "peer": name, **found}


def _timed_with_peak(command: list[str], cache: Path) -> tuple[float, float]:
    """The seconds that a command takes, and the most memory (MB) that its processes have."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=launcher_environ(cache), stderr=subprocess.DEVNULL)
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


def write_config(model: Path, cache: Path) -> Path:
    """The scoring server's configuration for a model."""
    from envs.disk.files import write_json
    from launcher.engines.server_config import server_config
    from launcher.model.mlmodel import read_model

    path = cache / "config.json"
    write_json(path, server_config(read_model(model), uri="iris", environment={}, server={}))
    return path


def inside(python: Path, *arguments: str) -> Any:
    """Run a function of `inside.py` with an environment's Python; what it measured."""
    done = subprocess.run(
        [str(python), INSIDE, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=INSIDE_SECONDS,
    )
    return json.loads(done.stdout.splitlines()[-1])["result"]
