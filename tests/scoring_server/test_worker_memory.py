"""--worker-memory: a worker over its bound costs the request that took it there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests

from tests.scoring_server.serving_process import serving, write_config
from tests.scoring_server.test_survival import command, replaced

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts on Linux: run on Linux"
    ),
]

GREEDY = """
import os, signal

class Model:
    def predict(self, model_input):
        what = int(model_input.iloc[0, 0])
        if what == 1:
            bytearray(1 << 30)
        elif what == 2:
            kept = []
            while True:
                kept.append(object())
        elif what == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == 4:
            try:
                bytearray(1 << 30)
            except MemoryError:
                os.abort()
        return model_input.sum(axis=1).to_numpy()

def _load_pyfunc(path):
    return Model()
"""
BOUND = 128 << 20


@pytest.mark.parametrize("more", [{}, {"threads": 2}, {"max_batch_rows": 64}, {"preload": False}])
def test_over_it_the_request_gets_500_and_the_worker_is_replaced(
    tmp_path: Path, more: dict[str, int]
) -> None:
    with serving(write_config(tmp_path / "model", GREEDY, worker_memory=BOUND, **more)) as (url, _):
        assert command(url, 0).status_code == 200
        for number in (1, 2):
            answer = command(url, number, timeout=60)
            assert answer.status_code == 500
            assert "--worker-memory" in answer.json()["message"]
            assert command(url, 0).status_code == 200
            assert replaced(url, "memory") == number
        assert command(url, 3).status_code == 500
        assert command(url, 0).status_code == 200
        assert replaced(url, "crashed") == 1


def test_a_body_that_takes_more_than_a_worker_has(tmp_path: Path) -> None:
    config = write_config(tmp_path / "model", GREEDY, worker_memory=16 << 20)
    rows = [[0.5, 0, 0, 0]] * 400_000
    body = {"dataframe_split": {"columns": list("abcd"), "data": rows}}
    with serving(config) as (url, _):
        answer = requests.post(f"{url}/invocations", json=body, timeout=60)
        assert answer.status_code == 500
        assert "--worker-memory" in answer.json()["message"]
        assert command(url, 0).status_code == 200
        # orjson does not live to say so: it is killed where it gets no memory.
        assert replaced(url, "memory") + replaced(url, "crashed") == 1


def test_a_library_that_aborts_for_want_of_memory(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model", GREEDY, worker_memory=BOUND)) as (url, _):
        assert command(url, 0).status_code == 200
        answer = command(url, 4, timeout=60)
        assert answer.status_code == 500
        assert "killed by SIGABRT, perhaps for want of memory (--worker-memory)" in answer.text


@pytest.mark.parametrize("preload", [True, False])
def test_loading_is_not_bounded(tmp_path: Path, preload: bool) -> None:
    """The least bound, and a model that takes much more: it starts, and answers what it can."""
    code = GREEDY.replace("    return Model()", "    model = Model()\n    model.kept = KEPT\n")
    code += "    return model\n\nKEPT = bytearray(1 << 28)\n"
    config = write_config(tmp_path / "model", code, worker_memory=1, preload=preload)
    with serving(config) as (url, _):
        assert command(url, 0).status_code == 200
        answer = command(url, 1)
        assert answer.status_code == 500
        assert "--worker-memory" in answer.json()["message"]


@pytest.mark.slow
def test_without_it_nothing_is_bounded(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model", GREEDY)) as (url, _):
        assert command(url, 1).status_code == 200
