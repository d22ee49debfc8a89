"""A real receiver of OTLP, MLflow's own server, gets the spans of requests and of the model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from envs import EnvStore
from tests.launcher.launcher_process import LONGEST, Launcher, run_to_end
from tests.launcher.tracing.test_traces import SOON, post, traceparent

pytestmark = pytest.mark.slow

Launch = Callable[..., Launcher]
BODY = {"dataframe_records": [{"a": 1.0}]}

MODEL = """
import mlflow

class Model:
    def predict(self, data):
        with mlflow.start_span("in the model") as span:
            span.set_attribute("rows", len(data))
            return [1.0] * len(data)

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that traces itself; its environment has MLflow and the exporter that MLflow uses."""
    path = tmp_path_factory.mktemp("traced") / "model"
    (path / "code").mkdir(parents=True)
    (path / "code" / "traced_model.py").write_text(MODEL)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: traced_model\n    code: code\n"
    )
    (path / "requirements.txt").write_text(
        "mlflow==3.17.2\nopentelemetry-exporter-otlp-proto-http\n"
    )
    return path


@pytest.fixture(scope="module")
def python(model: Path) -> str:
    """The interpreter of the model's environment."""
    done = run_to_end("prepare-env", "-m", model, "--json")
    assert done.returncode == 0, done.stderr
    environment = EnvStore().find(json.loads(done.stdout)["key"])
    assert environment is not None
    return str(environment.python)


@pytest.fixture(scope="module")
def receiver(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`mlflow server`, whose /v1/traces takes OTLP."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
         "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true",
             "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: requests.get(f"{url}/health", timeout=5).status_code == 200)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait(is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            if is_there():
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def spans_of(url: str, trace: str, *names: str) -> dict[str, tuple[str, str | None]]:
    """Identifier and parent of the spans that MLflow has of a trace, once those named are there."""
    found: dict[str, tuple[str, str | None]] = {}

    def are_there() -> bool:
        asked = {"trace_id": f"tr-{trace}", "allow_partial": "true"}
        answer = requests.get(f"{url}/api/3.0/mlflow/traces/get", params=asked, timeout=60)
        if answer.status_code == 200:
            for span in answer.json()["trace"].get("spans", []):
                found[span["name"]] = span["span_id"], span.get("parent_span_id")
        return set(names) <= set(found)

    wait(are_there)
    return found


def test_spans_of_requests_and_of_the_model_are_one_trace(
    launch: Launch, model: Path, receiver: str
) -> None:
    launcher = launch(
        *("serve", "-m", model, "-p", "0", "--name", "traced-by-mlflow"),
        environ={
            **SOON,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )
    url = launcher.ready()
    trace, header = traceparent(70)
    assert post(url, BODY, traceparent=header).json() == {"predictions": [1.0]}
    stages = ("queue", "parse", "predict", "encode")
    spans = spans_of(receiver, trace, "POST /invocations", "in the model", *stages)
    assert spans["in the model"][1] == spans["POST /invocations"][0]
    assert launcher.stop() == 0, launcher.output


def test_where_mlflow_exports_to_its_server_its_trace_names_the_request_s(
    launch: Launch, model: Path, receiver: str
) -> None:
    launcher = launch(
        *("serve", "-m", model, "-p", "0", "--name", "traced-to-mlflow"),
        *("--otlp-endpoint", receiver),
        environ={
            **SOON,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
            "MLFLOW_TRACKING_URI": receiver,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )
    url = launcher.ready()
    trace, header = traceparent(71)
    assert post(url, BODY, traceparent=header).json() == {"predictions": [1.0]}
    spans_of(receiver, trace, "POST /invocations")
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    found: list[str] = []

    def is_there() -> bool:
        answer = requests.post(
            f"{receiver}/api/3.0/mlflow/traces/search", json={"locations": [location]}, timeout=60
        )
        found[:] = [
            each["trace_id"].removeprefix("tr-")
            for each in answer.json().get("traces", [])
            if each.get("trace_metadata", {}).get("launcher.trace_id") == trace
        ]
        return bool(found)

    wait(is_there)
    [own] = found
    assert own != trace
    spans_of(receiver, own, "in the model")
    assert launcher.stop() == 0, launcher.output


def test_where_mlflow_hands_spans_on_at_once_they_join_on_its_server(
    launch: Launch, model: Path, receiver: str
) -> None:
    launcher = launch(
        *("serve", "-m", model, "-p", "0", "--name", "traced-at-once"),
        *("--otlp-endpoint", receiver),
        environ={
            **SOON,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
            "MLFLOW_TRACKING_URI": receiver,
            "MLFLOW_USE_BATCH_SPAN_PROCESSOR": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )
    url = launcher.ready()
    trace, header = traceparent(72)
    assert post(url, BODY, traceparent=header).json() == {"predictions": [1.0]}
    spans = spans_of(receiver, trace, "POST /invocations", "in the model")
    assert spans["in the model"][1] == spans["POST /invocations"][0]
    assert launcher.stop() == 0, launcher.output
