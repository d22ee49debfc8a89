"""Batching in a server process: what waits while the model is busy is predicted together."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.scoring_server.serving_process import serving, write_config

# Answers each row with itself and the rows of its prediction; the first waits for a file.
GATED = """
import pathlib, time

GATE = pathlib.Path(__file__).with_name("gate")

class Model:
    def predict(self, model_input):
        while not GATE.exists():
            time.sleep(0.01)
        return [[row, len(model_input)] for row in model_input["a"].tolist()]

def _load_pyfunc(path):
    return Model()
"""
WAITING = 9


def ask(url: str, number: int) -> list[list[float]]:
    split = {"columns": list("abcd"), "data": [[number + i / 2, 0, 0, 0] for i in range(2)]}
    answer = requests.post(f"{url}/invocations", json={"dataframe_split": split}, timeout=60)
    assert answer.status_code == 200, answer.text
    predictions: list[list[float]] = json.loads(answer.text)["predictions"]
    return predictions


def in_flight(url: str) -> int:
    found = re.search(r"launcher_in_flight_requests (\d+)", requests.get(f"{url}/metrics").text)
    assert found
    return int(found[1])


def test_requests_that_wait_share_a_prediction_and_get_their_own_rows(tmp_path: Path) -> None:
    config = write_config(tmp_path / "model", GATED, max_batch_rows=1000)
    with serving(config) as (url, _), ThreadPoolExecutor(WAITING + 1) as clients:
        first = clients.submit(ask, url, 100)
        while in_flight(url) < 1:
            time.sleep(0.01)
        # The worker has the first alone, as it was idle; the others come while it is busy.
        others = [clients.submit(ask, url, number) for number in range(WAITING)]
        while in_flight(url) < WAITING + 1:
            time.sleep(0.01)
        (tmp_path / "model" / "code" / "gate").touch()
        assert first.result() == [[100, 2], [100.5, 2]]
        for number, other in enumerate(others):
            assert other.result() == [[number, 2 * WAITING], [number + 0.5, 2 * WAITING]]
