"""Three rows in a request: throughput, latency, workers, and the goals' peers turn by turn."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import requests

from benchmarks import bodies
from benchmarks.front import __main__ as alone
from benchmarks.installing import ROOT, install, install_launcher, model_for
from benchmarks.load import post
from benchmarks.peers.registry import BATCHING_PEER, LAUNCHER, PEERS
from benchmarks.running import Running, serve
from benchmarks.scenarios.plan import (
    WARM_UP_SECONDS,
    Plan,
    Sample,
    WrongAnswerError,
    check_answer,
    inside,
    logistic,
    start_sample,
)

TURNS = 3
# The goals compare these; the in-process ways are measured in the same turns.
TURN_PEERS = (LAUNCHER, BATCHING_PEER, "fastapi-dataframe", "fastapi-array", "mlflow")
TREES = ("xgboost", "lightgbm")
TREE_TURNS = 2
# Enough to keep two workers busy.
WORKER_CONNECTIONS = 8
MANY_WORKERS = 3


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
            yield start_sample(name, running)
            post(url, body, "application/json", 4, WARM_UP_SECONDS)
            for connections in plan.connections:
                before = running.processor_seconds()
                load = post(url, body, "application/json", connections, plan.seconds)
                busy = (running.processor_seconds() - before) * 1e3 / load.requests
                found = {"rate": load.rate, "processor_ms": busy, **asdict(load)}
                yield {"scenario": "serving", "peer": name, **found}


def turns(plan: Plan) -> Iterator[Sample]:
    """The launcher and those whom the goals compare it with, turn by turn.

    All of them run at once, and one is asked at a time: the machine's speed changes within seconds.
    In between, three rows are parsed, predicted and encoded in one process, by a few lines of
    Python: from a DataFrame, and from an array.
    """
    python, model = install(PEERS[LAUNCHER], plan.cache), logistic(plan)
    body = three_rows(plan)
    with contextlib.ExitStack() as stack:
        running = {}
        for name in TURN_PEERS:
            peer = PEERS[name]
            command = serve(peer, install(peer, plan.cache), model, plan.cache)
            running[name] = stack.enter_context(command)
            url = running[name].url + "/invocations"
            check_answer(url, body.read_bytes(), "application/json", bodies.THREE_SPECIES)
            post(url, body, "application/json", 4, WARM_UP_SECONDS)
        for turn in range(TURNS):
            for connections in (1, 16):
                for name in TURN_PEERS if turn % 2 else TURN_PEERS[::-1]:
                    sample = _asked(running[name], body, connections, 1)
                    yield {"scenario": "turns", "turn": turn, "peer": name, **sample}
            for way in ("dataframe", "array"):
                found = inside(python, "one_request", str(model), str(body), "500", way)
                yield {"scenario": "turns", "turn": turn, "peer": f"one process, {way}", **found}


def _asked(running: Running, body: Path, connections: int, seconds: float) -> Sample:
    url = running.url + "/invocations"
    before = running.processor_seconds()
    load = post(url, body, "application/json", connections, seconds)
    busy = (running.processor_seconds() - before) * 1e3 / load.requests
    return {"rate": load.rate, "processor_ms": busy, **asdict(load)}


def three_rows(plan: Plan) -> Path:
    """A file with the body of most requests."""
    body = plan.cache / "three.json"
    body.write_bytes(bodies.three_rows())
    return body


def trees(plan: Plan) -> Iterator[Sample]:
    """XGBoost and LightGBM, 100 trees each: the launcher and MLflow, turn by turn."""
    body = three_rows(plan)
    for kind in TREES:
        model = model_for(PEERS[LAUNCHER], kind, plan.cache)
        install_launcher(model, plan.cache)
        with contextlib.ExitStack() as stack:
            running, answers = {}, []
            for name in (LAUNCHER, "mlflow"):
                python = Path(sys.executable)
                if name != LAUNCHER:
                    python = install(PEERS[name], plan.cache)
                running[name] = stack.enter_context(serve(PEERS[name], python, model, plan.cache))
                url = running[name].url + "/invocations"
                headers = {"Content-Type": "application/json"}
                answer = requests.post(url, data=body.read_bytes(), headers=headers, timeout=60)
                answers.append(answer.json())
                post(url, body, "application/json", 1, WARM_UP_SECONDS)
            if answers[0] != answers[1] or "predictions" not in answers[0]:
                raise WrongAnswerError(f"{kind}: {answers}")
            for turn in range(TREE_TURNS):
                for name in running:
                    sample = _asked(running[name], body, 1, 1)
                    yield {"scenario": kind, "turn": turn, "peer": name, **sample}


def workers(plan: Plan) -> Iterator[Sample]:
    """One and two workers, with a model that takes some 20 ms a request."""
    peer = PEERS[LAUNCHER]
    model = model_for(peer, "forest", plan.cache)
    body = three_rows(plan)
    for count in (1, 2):
        with serve(peer, Path(sys.executable), model, plan.cache, workers=count) as running:
            url = running.url + "/invocations"
            post(url, body, "application/json", WORKER_CONNECTIONS, WARM_UP_SECONDS)
            load = post(url, body, "application/json", WORKER_CONNECTIONS, plan.seconds)
            found = {"rate": load.rate, "p50_ms": load.p50_ms, "errors": load.errors}
            yield {"scenario": "workers", "peer": LAUNCHER, "workers": count, **found}


def memory(plan: Plan) -> Iterator[Sample]:
    """What the server has with one worker and with several, each having predicted."""
    body, model = three_rows(plan), logistic(plan)
    peer = PEERS[LAUNCHER]
    for count in (1, MANY_WORKERS):
        with serve(peer, Path(sys.executable), model, plan.cache, workers=count) as running:
            post(running.url + "/invocations", body, "application/json", 16, 2)
            _, megabytes = running.memory()
            yield {
                "scenario": "memory", "peer": LAUNCHER, "workers": count, "pss_mb": megabytes
            }  # fmt: skip


def front(_: Plan) -> Iterator[Sample]:
    """The front alone, and an asyncio loop with httptools that hands each request on as it does."""
    options = Namespace(seconds=1, rounds=3, connections=[16])
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        body = Path(name, "body.json")
        split = {"columns": list("abcd"), "data": [[1.0, 2.0, 3.0, 4.0]] * 3}
        body.write_text(json.dumps({"dataframe_split": split}))
        servers = {
            each: stack.enter_context(alone.serving(each, ROOT))
            for each in ("front", "asyncio-hop")
        }
        for (server, path, connections), took in alone.measure(servers, body, options).items():
            yield {
                "scenario": "front", "peer": server, "path": path, "connections": connections,
                "rate": 1e6 / statistics.median(took),
            }  # fmt: skip
