"""Real models behind MLServer: MLflow's protocol with the clients of our server, and V2."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.launcher.commands.test_every_model import case
from tests.launcher.launcher_process import Launcher, ObedientModel, invoke
from tests.scoring_server.environments import V2_CLIENTS, build, older_python
from tests.scoring_server.serving_process import SCRIPTS
from tests.scoring_server.test_open_inference import SHOUTER, SHOUTERS

Launch = Callable[..., Launcher]


def v2_request(body: dict[str, Any]) -> dict[str, Any]:
    """The same table in the Open Inference Protocol: an input for each column."""
    split = body["dataframe_split"]
    inputs = [
        {
            "name": name,
            "shape": [len(split["data"]), 1],
            "datatype": "FP64" if isinstance(split["data"][0][column], float) else "INT64",
            "data": [row[column] for row in split["data"]],
        }
        for column, name in enumerate(split["columns"])
    ]
    return {"id": "7", "parameters": {"content_type": "pd"}, "inputs": inputs}


def v2_predictions(answer: dict[str, Any]) -> list[Any]:
    """What came back, as /invocations has it: values, or a row each of a table."""
    columns = {each["name"]: each["data"] for each in answer["outputs"]}
    if len(columns) == 1:
        [values] = columns.values()
        return list(values)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def check(launcher: Launcher, name: str, body: dict[str, Any], predictions: list[Any]) -> None:
    """Ask in both protocols; the stop takes requests and connections as they are."""
    url = launcher.ready()
    with requests.Session() as session:
        answer = session.post(f"{url}/invocations", json=body, timeout=60)
        assert answer.json() == {"predictions": predictions}, launcher.output
        ready = session.get(f"{url}/v2/models/{name}/ready", timeout=60)
        assert ready.status_code == 200
        answer = session.post(f"{url}/v2/models/{name}/infer", json=v2_request(body), timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == "7"
        assert v2_predictions(answer.json()) == predictions
        assert launcher.stop() == 0
    assert "killed" not in launcher.output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlflow-3.0.1-sklearn"])
def test_a_model_of_the_corpus(launch: Launch, real_models: Path, name: str) -> None:
    path = real_models / name
    launcher = launch(
        *("serve", "-m", path, "-p", "0", "--enable-mlserver", "--max-batch-rows", "8"),
        *("--batch-wait", "5"),
    )
    check(launcher, name, *case(path))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        *("mlflow-1.30.0-pyfunc", "mlflow-1.30.0-sklearn", "mlflow-2.3.0-pyfunc"),
        *("mlflow-2.3.0-sklearn", "mlflow-3.0.1-pyfunc"),
        *("mlflow-3.17.2-sklearn-forest", "mlflow-3.17.2-sklearn-skops"),
    ],
)
def test_the_others_that_its_pythons_admit(launch: Launch, real_models: Path, name: str) -> None:
    path = real_models / name
    launcher = launch("serve", "-m", path, "-p", "0", "--enable-mlserver", "--workers", "2")
    check(launcher, name, *case(path))


@pytest.mark.slow
def test_the_quick_start_model(launch: Launch, iris: Path) -> None:
    launcher = launch("serve", "-m", iris, "-p", "0", "--enable-mlserver")
    url = launcher.ready()
    table = (iris.parent / "iris.csv").read_text()
    answer = invoke(url, table, content_type="text/csv")
    assert answer.json() == {"predictions": ["setosa", "versicolor", "virginica"]}
    assert invoke(url, "{", content_type="application/json").status_code >= 400
    assert launcher.stop() == 0


@pytest.fixture(scope="module")
def shouter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the clients ask, in the environment of the obedient one."""
    model = ObedientModel(tmp_path_factory.mktemp("model") / "shouter")
    (model.path / "code" / "obedient_model.py").write_text(SHOUTER)
    outputs = [{"name": "double", "type": "double"}, {"name": "upper", "type": "string"}]
    with (model.path / "MLmodel").open("a") as mlmodel:
        mlmodel.write(f"signature:\n  inputs: '{json.dumps(SHOUTERS)}'\n")
        # MLServer loads no model whose signature has none.
        mlmodel.write(f"  outputs: '{json.dumps(outputs)}'\n")
    return model.path


@pytest.mark.slow
def test_the_clients_of_triton_and_kserve(
    launch: Launch, shouter: Path, launcher_home: Path, tmp_path: Path
) -> None:
    python = build(launcher_home, older_python((3, 13)), V2_CLIENTS)
    launcher = launch("serve", "-m", shouter, "-p", "0", "--enable-mlserver")
    url = launcher.ready()
    for client in ("triton", "kserve"):
        command = [python, str(SCRIPTS / "v2_clients.py"), client, url, "mlserver"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert launcher.stop() == 0
