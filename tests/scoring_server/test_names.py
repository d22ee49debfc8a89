"""A model may bring packages of any name, that of the server's own package among them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests

from tests.scoring_server.serving_process import ROOT, serve_locally, write_config

CODE = """
import scoring_server.weights

class Model:
    def predict(self, table):
        from scoring_server.later import FACTOR
        return table.sum(axis=1) * scoring_server.weights.WEIGHT * FACTOR

def _load_pyfunc(path):
    return Model()
"""
BODY = {"dataframe_split": {"columns": list("abcd"), "data": [[1, 2, 3, 4]]}}


@pytest.mark.parametrize("start", [["-m", "scoring_server"], [str(ROOT / "scoring_server")]])
def test_a_model_has_its_own_package_scoring_server(tmp_path: Path, start: list[str]) -> None:
    config = write_config(tmp_path / "model", CODE)
    package = tmp_path / "model" / "code" / "scoring_server"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "weights.py").write_text("WEIGHT = 10")
    (package / "later.py").write_text("FACTOR = 2")

    def command(listener: int, status: int) -> list[str]:
        channels = [f"--socket-fd={listener}", f"--status-fd={status}"]
        return [sys.executable, *start, str(config), *channels]

    with serve_locally(command, cwd=ROOT) as (url, _):
        assert requests.get(f"{url}/info", timeout=30).json()["scoring_server"]
        answer = requests.post(f"{url}/invocations", json=BODY, timeout=30)
        assert answer.json() == {"predictions": [{"0": 200.0}]}
