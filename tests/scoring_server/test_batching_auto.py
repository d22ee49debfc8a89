"""`--max-batch-rows auto` in server processes, and with estimators of scikit-learn."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scoring_server.environments import build
from tests.scoring_server.serving_process import SCRIPTS, script_environment, serving, write_config

# Takes some milliseconds a prediction, and some time of a processor's.
SLOW = """
import os, time

class Model:
    def predict(self, model_input):
        time.sleep(0.005)
        x = model_input["a"].to_numpy()
        {answer}

def _load_pyfunc(path):
    return Model()
"""
# Trees and counts choose: no sum of theirs depends on how many rows there are.
ALWAYS_EQUAL = ("DecisionTree", "GradientBoosting", "HistGradientBoosting")
MOST_ROUNDS = 2000


def body_of(rows: list[list[float]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": list("abcd"), "data": rows}}).encode()


def ask(url: str, rows: list[list[float]]) -> list[Any]:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/invocations", data=body_of(rows), headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    predictions: list[Any] = answer.json()["predictions"]
    return predictions


def state_of(url: str) -> str:
    text = requests.get(f"{url}/metrics", timeout=60).text
    (found,) = re.findall(r'launcher_batching{state="(\w+)"} 1', text)
    return str(found)


def some_rows(chance: random.Random) -> list[list[float]]:
    return [[chance.gauss(0, 2) for _ in range(4)] for _ in range(chance.randint(1, 3))]


def asked_together(url: str, until: str) -> Iterator[tuple[list[list[float]], list[Any]]]:
    """What 16 clients ask until batching has a state, and a while longer, with the answers."""
    chance, left = random.Random(7), 5
    with ThreadPoolExecutor(16) as clients:
        for _ in range(MOST_ROUNDS):
            bodies = [some_rows(chance) for _ in range(32)]
            yield from zip(bodies, clients.map(lambda rows: ask(url, rows), bodies))
            left -= state_of(url) == until
            if not left:
                return
    raise AssertionError(f"batching is {state_of(url)}, not {until}")


@pytest.mark.parametrize("workers", [1, 2])
def test_it_opens_and_each_gets_its_own_rows(tmp_path: Path, workers: int) -> None:
    code = SLOW.format(answer="return 2 * x")
    config = write_config(tmp_path / "model", code, max_batch_rows="auto", workers=workers)
    with serving(config) as (url, _):
        assert ask(url, [[4.0, 0, 0, 0]]) == [8.0]
        assert state_of(url) == "proving"
        for rows, answer in asked_together(url, "on"):
            assert answer == [2 * row[0] for row in rows]


def test_no_answer_of_a_model_that_looks_at_its_neighbours_is_wrong(tmp_path: Path) -> None:
    code = SLOW.format(answer="return x - x.mean()")
    config = write_config(tmp_path / "model", code, max_batch_rows="auto", workers=2)
    with serving(config) as (url, _):
        for rows, answer in asked_together(url, "closed"):
            mean = sum(row[0] for row in rows) / len(rows)
            assert answer == pytest.approx([row[0] - mean for row in rows], abs=1e-9)


def test_a_model_that_dies_of_a_stack_takes_nobodys_answer_with_it(tmp_path: Path) -> None:
    code = SLOW.format(answer="return 2 * x if len(x) < 4 else os._exit(1)")
    config = write_config(tmp_path / "model", code, max_batch_rows="auto")
    with serving(config) as (url, _):
        for rows, answer in asked_together(url, "closed"):
            assert answer == [2 * row[0] for row in rows]


@pytest.mark.slow
def test_estimators_are_on_where_their_stacks_are_equal_or_nearly(launcher_home: Path) -> None:
    python = build(launcher_home, None, ["scikit-learn", "pandas", "flask"])
    done = subprocess.run(
        [python, SCRIPTS / "prove_batching.py"], env=script_environment(launcher_home),
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert len(found) > 20
    for name, proven in found.items():
        tolerance = float(name.split()[-1])
        assert proven["error"] <= tolerance, name
        if tolerance or name.startswith(ALWAYS_EQUAL):
            assert proven["state"] == "on", name
