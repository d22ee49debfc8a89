"""How much is measured, and what the scenarios share."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.installing import IN_ENVIRONMENT, ROOT, model_for
from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.running import THREADS, Running

Sample = dict[str, Any]

INSIDE_SECONDS = 900
WARM_UP_SECONDS = 1


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


def logistic(plan: Plan) -> Path:
    """The model of most scenarios, as the launcher and the peers with its releases serve it."""
    return model_for(PEERS[LAUNCHER], "logistic", plan.cache)


def start_sample(name: str, running: Running) -> Sample:
    parent, children = running.memory()
    if not children:
        # One process is the server, and nothing is beside it.
        parent, children = 0.0, parent
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
        [str(python), str(IN_ENVIRONMENT / "inside.py"), *arguments],
        env={**os.environ, **THREADS, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=INSIDE_SECONDS,
    )
    return json.loads(done.stdout.splitlines()[-1])["result"]
