"""The direct lane in real libraries, and in a server with two workers."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path

import pytest
import requests

from tests.scoring_server.environments import build
from tests.scoring_server.serving_process import (
    BODY,
    SCRIPTS,
    script_environment,
    serving,
    write_config,
)
from tests.scoring_server.test_flavors import LIBRARIES, pytorch_wheel

# An estimator whose answer says what it was given, and which differs from 100 on.
ESTIMATOR = """
import numpy as np

class Model:
    def get_params(self, deep=True):
        return {}

    def predict(self, data):
        answer = np.asarray(data).sum(axis=1)
        return answer + (not hasattr(data, "columns") and answer.max() >= 100)

def _load_pyfunc(path):
    return Model()
"""


def proved(python: str, home: Path, *arguments: str) -> dict[str, dict[str, object]]:
    done = subprocess.run(
        [python, str(SCRIPTS / "prove_lane.py"), *arguments],
        check=True, stdout=subprocess.PIPE, cwd=home,
        env={**script_environment(home), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_all_estimators_answer_arrays_as_tables_to_the_last_bit(launcher_home: Path) -> None:
    python = build(launcher_home, "3.11", LIBRARIES)
    seed = random.randrange(1 << 32)
    found = proved(python, launcher_home, str(seed), "doubles,mixed")
    assert not {name: each["differ"] for name, each in found.items() if each["differ"]}, seed
    direct = {name for name, each in found.items() if each["direct"]}
    # Where both ways go to another part of the library, or each input has its own type.
    assert set(found) - direct <= {
        "xgboost/gblinear/reg:squarederror", "xgboost/gblinear/binary:logistic", "xgboost/linear",
        "xgboost/dart/reg:squarederror", "xgboost/dart/binary:logistic", "onnx/columns",
    }  # fmt: skip
    kinds = {name.split("/")[0] for name in direct}
    assert {"xgboost", "lightgbm", "catboost", "onnx", "pipeline"} <= kinds
    assert len(kinds) >= 75


@pytest.mark.slow
def test_networks_of_pytorch_answer_arrays_as_tables(launcher_home: Path) -> None:
    wheel = pytorch_wheel(launcher_home / "test-wheels")
    python = build(launcher_home, "3.11", ["mlflow>=3.17", "flask", str(wheel)])
    found = proved(python, launcher_home, "0", "doubles,floats,mixed,narrow", "torch")
    assert found["torch/net"]["direct"]
    assert not found["torch/net"]["differ"]


def test_what_one_worker_finds_is_known_to_all_and_seen(tmp_path: Path) -> None:
    config = write_config(tmp_path / "model", ESTIMATOR, workers=2, direct_lane="on")

    def state() -> str:
        metrics = client.get(f"{url}/metrics", timeout=60).text
        found = re.search(r'launcher_direct_lane\{state="(\w+)"\} 1', metrics)
        assert found
        return found[1]

    def ask(body: bytes) -> list[float]:
        answer = client.post(
            f"{url}/invocations", body, headers={"Content-Type": "application/json"}, timeout=60
        )
        predictions: list[float] = answer.json()["predictions"]
        return predictions

    large = BODY.replace(b"4.0", b"400.0")
    with serving(config) as (url, _), requests.Session() as client:
        assert state() == "proving"
        while state() == "proving":
            assert ask(BODY) == [10.0] * 3
        assert state() == "open"
        # A worker answers this from the array, until one that goes both ways finds it out.
        for _ in range(5000):
            answer = ask(large)
            assert answer in ([406.0] * 3, [407.0] * 3)
            if state() == "closed":
                break
        assert state() == "closed"
        assert {tuple(ask(large)) for _ in range(20)} == {(406.0,) * 3}
