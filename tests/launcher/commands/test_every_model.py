"""The main job on every real model: its own Python, the right predictions, served and in batch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from launcher.model.mlmodel import read_model
from tests.conftest import REAL_MODELS
from tests.launcher.launcher_process import Launcher, ObedientModel, command, invoke
from tests.scoring_server.openapi.signatures import validator

pytestmark = pytest.mark.slow

MODELS = sorted(path.name for path in REAL_MODELS.glob("*"))
SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.9, 3.2, 5.7, 2.3]


def case(path: Path) -> tuple[dict[str, object], list[object]]:
    """A request for one of the models, and the predictions that it must give.

    The scikit-learn models are iris classifiers; the PythonModels add 5 to what they get.
    """
    if path.name.endswith("pyfunc"):
        body = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}
        return body, [{"a": 6, "b": 7}, {"a": 8, "b": 9}]
    signature = read_model(path).signature
    assert signature is not None
    columns = [column["name"] for column in signature["inputs"]]
    return {"dataframe_split": {"columns": columns, "data": [SETOSA, VIRGINICA]}}, [0, 2]


def check_description(session: requests.Session, url: str, body: dict[str, object]) -> None:
    """The body and the model's input example fit the OpenAPI document, and so do the answers."""
    document = session.get(f"{url}/openapi.json", timeout=60).json()
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"]["/invocations"]["post"]
    sent = operation["requestBody"]["content"]["application/json"]
    got = operation["responses"]["200"]["content"]["application/json"]
    for each in (body, sent.get("example", body)):
        validator(document, sent["schema"]).validate(each)
        answer = session.post(f"{url}/invocations", json=each, timeout=60)
        assert answer.status_code == 200, answer.text
        validator(document, got["schema"]).validate(answer.json())


@pytest.mark.parametrize("name", MODELS)
def test_a_real_model(
    launch: Callable[..., Launcher],
    run: Callable[..., subprocess.CompletedProcess[str]],
    real_models: Path,
    tmp_path: Path,
    name: str,
) -> None:
    path = real_models / name
    body, predictions = case(path)
    launcher = launch("serve", "-m", path, "-p", "0")
    url = launcher.ready()
    # A connection that stays open must not hold up the stop, with any release of the server.
    with requests.Session() as session:
        info = session.get(f"{url}/info", timeout=60).json()
        assert info["python"] == read_model(path).requirements.python
        answer = session.post(f"{url}/invocations", json=body, timeout=60)
        assert answer.json() == {"predictions": predictions}, launcher.output
        check_description(session, url, body)
        assert launcher.stop() == 0
    assert "killed" not in launcher.output

    (tmp_path / "in.json").write_text(json.dumps(body))
    output = tmp_path / "out.json"
    done = run("predict", "-m", path, "-i", tmp_path / "in.json", "-o", output)
    assert done.returncode == 0, done.stderr
    assert "reused" in done.stderr
    assert json.loads(output.read_text()) == {"predictions": predictions}


def test_an_environment_that_serves_by_itself(
    run: Callable[..., subprocess.CompletedProcess[str]], obedient: ObedientModel, tmp_path: Path
) -> None:
    """--install-mlflow on the oldest Python: MLflow and the server are in the environment."""
    (obedient.path / "python_env.yaml").write_text("python: 3.7.16\ndependencies: []\n")
    mlmodel = obedient.path / "MLmodel"
    mlmodel.write_text(
        mlmodel.read_text()
        + "mlflow_version: 1.30.0\nutc_time_created: '2022-11-01 12:00:00.000000'\n"
    )
    config, ready = tmp_path / "server.json", tmp_path / "log"
    done = run("prepare-env", "-m", obedient.path, "--install-mlflow", "--config", config)
    assert done.returncode == 0, done.stderr
    python = Path(done.stdout.split()[1]) / "bin" / "python"
    script = "import mlflow, scoring_server; print(mlflow.__version__, scoring_server.__file__)"
    imported = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert imported.stdout.startswith("1.30.0 ")
    assert str(python.parents[1]) in imported.stdout

    settings = json.loads(config.read_text())
    settings["server"]["port"] = free_port()
    config.write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{settings['server']['port']}"
    with ready.open("w") as log:
        server = subprocess.Popen(
            [python, "-m", "scoring_server", config], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        pinged = run("ping", url, "--wait", "60")
        assert pinged.returncode == 0, ready.read_text()
        assert invoke(url, command("hello")).json() == {"predictions": ["done"]}
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
