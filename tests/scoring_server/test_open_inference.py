"""The Open Inference Protocol V2 with MLServer as the oracle, and with other people's clients."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scoring_server.environments import (
    MLSERVER,
    MLSERVER_DAY,
    V2_CLIENTS,
    build,
    older_python,
)
from tests.scoring_server.serving_process import (
    SCRIPTS,
    logged_models,
    serving,
    serving_models,
    write_config,
)
from tests.scoring_server.test_disconnects import WAITING
from tests.scoring_server.v2_cases import CASES, Case, tensor

READY_SECONDS = 120
SHOUTER = """
import pandas as pd

class Model:
    def predict(self, model_input):
        double, upper = 2 * model_input["number"], model_input["text"].str.upper()
        return pd.DataFrame({"double": double, "upper": upper})

def _load_pyfunc(path):
    return Model()
"""
SHOUTERS = [{"name": "number", "type": "double"}, {"name": "text", "type": "string"}]


def config_of(folder: Path, code: str, inputs: list[dict[str, Any]], **server: Any) -> Path:
    """The configuration for a model of that code, whose name is `shouter`."""
    path = write_config(folder, code, **server)
    document = json.loads(path.read_text())
    document["model"].update(names=["shouter"], signature={"inputs": inputs})
    path.write_text(json.dumps(document))
    return path


def test_all_but_predictions_is_answered_while_the_model_is_busy(tmp_path: Path) -> None:
    names = [{"name": name, "type": "double"} for name in "ab"]
    config = config_of(tmp_path / "model", WAITING, names, timeout=20)
    body = {"inputs": [tensor(name, "FP64", [1.5]) for name in "ab"]}
    with serving(config) as (url, _), ThreadPoolExecutor(1) as clients:
        try:
            asked = clients.submit(
                requests.post, f"{url}/v2/models/shouter/infer", json=body, timeout=60
            )
            while "launcher_in_flight_requests 1\n" not in requests.get(f"{url}/metrics").text:
                time.sleep(0.01)
            for path, status in (
                ("", 200), ("/health/live", 200), ("/health/ready", 200), ("/nothing", 404),
                ("/models/shouter", 200), ("/models/shouter/ready", 200), ("/models/x", 404),
                ("/models/x/ready", 404), ("/models/shouter/versions/1", 404),
                ("/models/shouter/infer", 405),
            ):  # fmt: skip
                answer = requests.get(f"{url}/v2{path}", timeout=10)
                assert answer.status_code == status, path
            # Nor does the request wait whose path says that it cannot be answered.
            answer = requests.post(f"{url}/v2/models/x/infer", json=body, timeout=10)
            assert (answer.status_code, list(answer.json())) == (404, ["error"])
            assert not asked.done()
        finally:
            (tmp_path / "model" / "code" / "gate").touch()
        assert asked.result().json()["outputs"][0]["data"] == [3.0]
        figures = requests.get(f"{url}/metrics", timeout=60).text
        label = 'route="/v2/models/<name>/infer",status="200"'
        assert f"launcher_requests_total{{{label}}} 1\n" in figures


@pytest.mark.slow
@pytest.mark.parametrize("client", ["triton", "kserve"])
def test_clients(client: str, launcher_home: Path, tmp_path: Path) -> None:
    python = build(launcher_home, older_python((3, 13)), V2_CLIENTS)
    config = config_of(tmp_path / "model", SHOUTER, SHOUTERS, max_batch_rows=64)
    with serving(config) as (url, _):
        command = [python, str(SCRIPTS / "v2_clients.py"), client, url, "ours"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


# --- MLServer ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlserver_python(launcher_home: Path) -> str:
    return build(launcher_home, older_python((3, 13)), MLSERVER, MLSERVER_DAY)


@pytest.fixture(scope="module")
def v2_models(mlserver_python: str, launcher_home: Path) -> Path:
    return logged_models(mlserver_python, "log_v2_models.py", launcher_home, "-v2")


@pytest.fixture(scope="module")
def ours(mlserver_python: str, v2_models: Path, launcher_home: Path) -> Iterator[str]:
    """The server under test, in MLServer's environment; each model is below its name."""
    with serving_models(mlserver_python, "serve_v2.py", v2_models, launcher_home) as url:
        yield url


@pytest.fixture(scope="module")
def theirs(
    mlserver_python: str, v2_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """MLServer with the same models."""
    folder = tmp_path_factory.mktemp("mlserver")
    ports = free_ports(3)
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports, strict=True))}
    (folder / "settings.json").write_text(json.dumps(settings))
    for model in v2_models.iterdir():
        (folder / model.name).mkdir()
        served = {
            "name": model.name,
            "implementation": "mlserver_mlflow.MLflowRuntime",
            "parameters": {"uri": str(model)},
        }
        (folder / model.name / "model-settings.json").write_text(json.dumps(served))
    url = f"http://127.0.0.1:{ports[0]}"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONWARNINGS": "ignore"}
    command = [str(Path(mlserver_python).with_name("mlserver")), "start", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        wait_for_models(process, url, [model.name for model in v2_models.iterdir()], folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def free_ports(count: int) -> list[int]:
    """Unused ports: MLServer cannot be handed sockets."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for_models(
    process: subprocess.Popen[bytes], url: str, names: list[str], log: Path
) -> None:
    """Ask for each until it is ready: MLServer says it is before it has all."""
    until = time.monotonic() + READY_SECONDS
    for name in names:
        while not is_ready(f"{url}/v2/models/{name}/ready"):
            text = log.read_text(errors="replace")
            assert process.poll() is None, text[-3000:]
            assert time.monotonic() < until, text[-3000:]
            time.sleep(0.1)


def is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def answer(url: str, case: Case) -> tuple[int, Any]:
    """The status and the document of the answer, without the identifier that MLServer makes."""
    response = requests.post(f"{url}/v2/models/{case.model}/infer", json=case.document, timeout=60)
    try:
        document = response.json()
    except ValueError:
        return response.status_code, response.text
    if "id" not in case.document:
        document.pop("id", None)
    return response.status_code, document


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{each.model}" for n, each in enumerate(CASES)])
def test_answers_are_those_of_mlserver(case: Case, ours: str, theirs: str) -> None:
    wanted = answer(theirs, case)
    got = answer(f"{ours}/{case.model}", case)
    assert got[0] < 500
    if wanted[0] == 200:
        assert (got == wanted) == (not case.differs), (got, wanted)
    else:
        assert not case.differs, wanted


@pytest.mark.slow
def test_metadata_is_that_of_mlserver(ours: str, theirs: str, v2_models: Path) -> None:
    for model in v2_models.iterdir():
        path = f"v2/models/{model.name}"
        wanted = requests.get(f"{theirs}/{path}", timeout=60).json()
        got = requests.get(f"{ours}/{model.name}/{path}", timeout=60).json()
        # MLServer leaves the platform empty, and out what it does not know.
        assert got.pop("platform").startswith("mlflow_")
        known = {name: value for name, value in wanted.items() if value}
        assert known == {name: value for name, value in got.items() if value}
