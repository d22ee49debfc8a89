"""Traces where something goes wrong, and servers that differ: none of it costs a request."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.launcher.launcher_process import Launcher, ObedientModel, command, invoke, run_to_end
from tests.launcher.tracing.collector import Collector, collecting
from tests.launcher.tracing.models import streaming_model
from tests.launcher.tracing.test_traces import SOON, post, traceparent

Launch = Callable[..., Launcher]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as value:
        yield value


def start(launch: Launch, model: Path, url: str, *more: str, **environ: str) -> Launcher:
    options = ("-p", "0", "--env-manager", "local", "--otlp-endpoint", url, *more)
    return launch("serve", "-m", model, *options, environ={**SOON, **environ})


def nowhere() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_collector_that_is_not_there_is_said_once_and_costs_nothing(
    launch: Launch, obedient: ObedientModel
) -> None:
    url = nowhere()
    launcher = start(launch, obedient.path, url, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    served = launcher.ready()
    for _ in range(3):
        assert invoke(served, command("done")).status_code == 200
    launcher.wait_for(f"traces cannot be delivered to {url}/v1/traces: ")
    assert invoke(served, command("done")).status_code == 200
    stopping = time.monotonic()
    assert launcher.stop() == 0
    # Two seconds for the last spans, and as much again for a busy machine.
    assert time.monotonic() - stopping < 10
    assert launcher.output.count("traces cannot be delivered") == 1


def test_a_collector_that_fails_and_hangs_and_comes_back(
    launch: Launch, obedient: ObedientModel, collector: Collector
) -> None:
    collector.status = 400  # the SDK tries 503 and the like again itself
    launcher = start(launch, obedient.path, collector.url)
    url = launcher.ready()
    assert invoke(url, command("done")).status_code == 200
    launcher.wait_for("traces cannot be delivered to ")
    collector.status, collector.hold = 200, threading.Event()
    trace, header = traceparent(40)
    assert post(url, command("done"), traceparent=header).status_code == 200
    # It hangs now: nobody waits for it.
    began = time.monotonic()
    assert post(url, command("done")).status_code == 200
    assert time.monotonic() - began < 5
    collector.hold.set()
    collector.tree(trace)
    launcher.wait_for("traces are delivered to .* again")
    assert launcher.stop() == 0


@pytest.mark.slow
def test_a_hanging_collector_does_not_hold_up_the_stop(
    launch: Launch, obedient: ObedientModel, collector: Collector
) -> None:
    collector.hold = threading.Event()
    launcher = start(launch, obedient.path, collector.url)
    assert invoke(launcher.ready(), command("done")).status_code == 200
    began = time.monotonic()
    assert launcher.stop() == 0
    assert time.monotonic() - began < 10
    assert "the last traces could not be delivered" in launcher.output


def test_what_came_last_is_delivered_at_the_stop_and_nothing_of_strangers(
    launch: Launch, obedient: ObedientModel, collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    guarded = ("--token-file", str(tmp_path / "token"))
    launcher = start(
        launch, obedient.path, collector.url, *guarded, OTEL_BSP_SCHEDULE_DELAY="60000"
    )
    url = launcher.ready()
    trace, header = traceparent(41)
    assert post(url, command("done"), traceparent=traceparent(42)[1]).status_code == 401
    told = {"traceparent": header, "Authorization": "Bearer secret"}
    assert post(url, command("done"), **told).status_code == 200
    assert launcher.stop() == 0
    assert {span.trace_id for span in collector.spans} == {trace}
    assert {"POST /invocations", "predict"} <= {
        span.name for span in collector.spans if span.trace_id == trace
    }


@pytest.mark.slow
def test_the_channel_outlives_a_server_a_worker_and_a_reload(
    launch: Launch, obedient: ObedientModel, collector: Collector
) -> None:
    # With threads it is loaded in each worker: the server's process starts itself over.
    obedient.mark("load.thread")
    launcher = start(launch, obedient.path, collector.url)
    url = launcher.ready()
    # The worker dies with the request: its span says so.
    trace, header = traceparent(42)
    assert post(url, command("exit"), traceparent=header).status_code == 500
    span, inner = collector.tree(trace)
    assert (span.status, span.attributes["error.type"], set(inner)) == (2, "500", {"queue"})
    # The server is killed in the middle of a request.
    with pytest.raises(requests.ConnectionError):
        invoke(url, command("crash"))
    launcher.wait_for("restarting it")
    trace, header = traceparent(43)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert post(url, command("done"), traceparent=header).status_code == 200
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    collector.tree(trace)
    launcher.send(signal.SIGHUP)
    launcher.wait_for("reloaded")
    trace, header = traceparent(44)
    assert post(url, command("done"), traceparent=header).status_code == 200
    collector.tree(trace)
    assert launcher.stop() == 0


@pytest.mark.slow
def test_a_launcher_that_does_not_read_loses_spans_and_no_request(
    launch: Launch, obedient: ObedientModel, collector: Collector
) -> None:
    launcher = start(launch, obedient.path, collector.url)
    url = launcher.ready()
    supervisor = psutil.Process(launcher.process.pid)
    supervisor.suspend()
    try:
        with requests.Session() as session:
            # More than the pipe takes: 1 MB at some 400 bytes each.
            for number in range(40_000):
                answer = session.post(f"{url}/nowhere/{'x' * 400}", data=b"", timeout=60)
                assert answer.status_code == 404
                if number % 100 == 99 and _untraced(session, url):
                    break
    finally:
        supervisor.resume()
    with requests.Session() as session:
        assert _untraced(session, url) > 0
    trace, header = traceparent(45)
    post(url, command("done"), traceparent=header)
    collector.tree(trace)
    assert launcher.stop() == 0


def _untraced(session: requests.Session, url: str) -> int:
    lines = session.get(f"{url}/metrics", timeout=60).text.splitlines()
    [line] = [each for each in lines if each.startswith("launcher_untraced_requests_total ")]
    return int(float(line.split()[1]))


def test_a_stream_is_one_span_from_its_request_to_its_last_piece(
    launch: Launch, tmp_path: Path, collector: Collector
) -> None:
    model = streaming_model(tmp_path / "streaming")
    launcher = start(launch, model, collector.url)
    url = launcher.ready()
    trace, header = traceparent(50)
    body: Any = {"dataframe_split": {"columns": ["seconds"], "data": [[0.0]]}}
    answer = post(url, body, traceparent=header, Accept="text/event-stream")
    assert "last" in answer.text
    span, inner = collector.tree(trace)
    assert span.attributes["http.response.status_code"] == 200
    assert set(inner) == {"queue", "parse", "stream"}
    assert inner["stream"].end - inner["stream"].start >= 0.3e9
    assert span.end >= inner["stream"].end
    # Its worker dies in the middle of a stream.
    broken, header = traceparent(51)
    body["dataframe_split"]["data"] = [[-1.0]]
    with pytest.raises(requests.RequestException):
        post(url, body, traceparent=header, Accept="text/event-stream")
    span, inner = collector.tree(broken)
    assert (span.status, span.attributes["http.response.status_code"]) == (2, 500)
    assert "stream" in inner
    counted = 'launcher_requests_total{route="/invocations",status="500"} 1'
    assert counted in requests.get(f"{url}/metrics", timeout=60).text
    assert launcher.stop() == 0


@pytest.mark.slow
def test_each_request_of_a_batch_and_of_each_worker_has_its_own_span(
    launch: Launch, tmp_path: Path, collector: Collector
) -> None:
    model = streaming_model(tmp_path / "batched", streams=False)
    launcher = start(
        launch, model, collector.url, "--max-batch-rows", "64", "--batch-wait", "200", "-w", "2"
    )
    url = launcher.ready()
    traces = [traceparent(number) for number in range(60, 68)]

    def ask(header: str) -> Any:
        body = {"dataframe_split": {"columns": ["seconds"], "data": [[0.1]]}}
        return post(url, body, traceparent=header).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [header for _, header in traces]))
    assert answers == [{"predictions": [0.1]}] * 8
    trees = [collector.tree(trace) for trace, _ in traces]
    predicted = []
    for span, inner in trees:
        assert set(inner) == {"queue", "parse", "predict", "encode"}
        assert span.start <= inner["predict"].start <= inner["predict"].end <= span.end
        predicted.append(inner["predict"].start)
    # Shared predictions: the same one, seen from each of its requests. Each takes 100 ms.
    predicted.sort()
    assert any(later - earlier < 1e7 for earlier, later in pairwise(predicted))
    assert launcher.stop() == 0


@pytest.mark.slow
def test_the_sampler_of_the_standard_variables(
    launch: Launch, obedient: ObedientModel, collector: Collector
) -> None:
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
        environ={
            **SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0",
            "OTEL_SERVICE_NAME": "named-by-a-variable",
        },
    )  # fmt: skip
    url = launcher.ready()
    assert invoke(url, command("done")).status_code == 200
    trace, header = traceparent(46)
    post(url, command("done"), traceparent=header)
    span, _ = collector.tree(trace)
    assert span.resource["service.name"] == "named-by-a-variable"
    assert launcher.stop() == 0
    assert {each.trace_id for each in collector.spans} == {trace}


def test_mlserver_has_none(obedient: ObedientModel) -> None:
    done = run_to_end(
        *("serve", "-m", obedient.path, "--enable-mlserver", "--otlp-endpoint", "http://x:4318")
    )
    assert done.returncode == 2
    assert "The engine mlserver has no --otlp-endpoint." in done.stderr


# As a launcher without the extra: the package is hidden from it.
WITHOUT = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "opentelemetry" or name.startswith("opentelemetry."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
from launcher.cli.main import main
main()
"""


@pytest.mark.slow
def test_without_the_extra_who_asks_is_told_and_a_machine_s_variable_is_warned_about(
    launch: Launch, obedient: ObedientModel
) -> None:
    python = (sys.executable, "-c", WITHOUT)
    local = ("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    asked = launch(*local, "--otlp-endpoint", "http://127.0.0.1:4318", command=python)
    assert asked.wait() == 2
    assert "pip install 'opentelemetry-" in asked.output
    standard = launch(
        *local, command=python, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    )
    url = standard.ready()
    assert invoke(url, command("done")).status_code == 200
    assert standard.stop() == 0
    assert standard.output.count("no traces are exported") == 1
    assert os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") is None
