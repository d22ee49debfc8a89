"""`launcher serve` from every form of URI of a real tracking server, and after an alias moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.launcher.artifacts.oracles import MLflow
from tests.launcher.launcher_process import Launcher, invoke

pytestmark = pytest.mark.slow

BODY = {"dataframe_records": [{"a": 1, "b": "x"}]}
ANSWER = {"predictions": [{"a": 1, "b": "x"}]}


@pytest.fixture
def server(tracking_server: MLflow, monkeypatch: pytest.MonkeyPatch) -> MLflow:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.uri)
    return tracking_server


def forms(server: MLflow) -> Iterator[tuple[str, int]]:
    """Model URIs, and the run (from 0) that logged what they lead to."""
    made = server.made
    yield f"runs:/{made['runs'][0]}/model", 0
    yield f"models:/{made['name']}/2", 1
    yield f"models:/{made['name']}@champion", 0
    yield f"models:/{made['name']}/Production", 0
    yield f"models:/{made['name']}/latest", 1
    if made["model_ids"][1]:
        yield f"models:/{made['model_ids'][1]}", 1
    mlmodel = next((server.folder / "artifacts").rglob("MLmodel"))
    folder = mlmodel.parent.relative_to(server.folder / "artifacts").as_posix()
    yield f"mlflow-artifacts:/{folder}", made["runs"].index(_run_id(mlmodel))


def _run_id(mlmodel: Path) -> str:
    [line] = [line for line in mlmodel.read_text().splitlines() if line.startswith("run_id: ")]
    return line.removeprefix("run_id: ")


def test_every_form_of_uri_is_served(server: MLflow) -> None:
    for uri, number in forms(server):
        launcher = Launcher("serve", "-m", uri, "-p", "0")
        try:
            url = launcher.ready()
            assert invoke(url, BODY).json() == ANSWER, uri
            info = requests.get(f"{url}/info", timeout=60).json()
            assert info["model"]["run_id"] == server.made["runs"][number], uri
        finally:
            assert launcher.stop() == 0


def test_an_alias_that_moves_is_served_without_a_failed_request(server: MLflow) -> None:
    name = server.made["name"]
    launcher = Launcher("serve", "-m", f"models:/{name}@champion", "-p", "0", "--watch", "0.5")
    try:
        url = launcher.ready()
        answers: list[int] = []
        done = threading.Event()

        def ask() -> None:
            with requests.Session() as session:
                while not done.is_set():
                    answers.append(
                        session.post(f"{url}/invocations", json=BODY, timeout=60).status_code
                    )

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            _set_alias(server, name, "2")
            launcher.wait_for("has moved")
            launcher.wait_for("reloaded; ")
        finally:
            done.set()
            asking.join()
        assert set(answers) == {200}
        info = requests.get(f"{url}/info", timeout=60).json()
        assert info["model"]["run_id"] == server.made["runs"][1]
    finally:
        _set_alias(server, name, "1")
        assert launcher.stop() == 0


def _set_alias(server: MLflow, name: str, version: str) -> None:
    requests.post(
        f"{server.uri}/api/2.0/mlflow/registered-models/alias",
        json={"name": name, "alias": "champion", "version": version},
        timeout=60,
    ).raise_for_status()
