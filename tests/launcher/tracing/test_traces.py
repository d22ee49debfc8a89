"""``launcher serve --otlp-endpoint``: the spans that a collector gets (a stand-in for one)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.launcher.launcher_process import Launcher, ObedientModel, command
from tests.launcher.tracing.collector import Collector, collecting

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
STAGES = {"queue", "parse", "predict", "encode"}
# The SDK's own are five seconds.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as value:
        yield value


@pytest.fixture(scope="module")
def server(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Launcher, str]]:
    model = ObedientModel(tmp_path_factory.mktemp("traced") / "obedient")
    launcher = Launcher(
        *("serve", "-m", model.path, "-p", "0", "--env-manager", "local", "--name", "traced-one"),
        *("--otlp-endpoint", collector.url, "--log-format", "json", "--access-log"),
        environ={**SOON, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
                 "OTEL_EXPORTER_OTLP_HEADERS": "x-key=of-tests"},
    )  # fmt: skip
    try:
        yield launcher, launcher.ready()
    finally:
        launcher.stop()


def post(url: str, body: Any, path: str = "/invocations", **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    return requests.post(f"{url}{path}", data=data, headers=headers, timeout=60)


def traceparent(number: int, flags: str = "01") -> tuple[str, str]:
    """A trace's identifier, and the header that begins it."""
    trace = f"{number:02x}{TRACE[2:]}"
    return trace, f"00-{trace}-{PARENT}-{flags}"


def test_a_request_is_a_span_below_its_sender_s_with_the_stages(
    collector: Collector, server: tuple[Launcher, str]
) -> None:
    launcher, url = server
    trace, header = traceparent(1)
    answer = post(
        url, command("sleep 0.2"), traceparent=header, tracestate="vendor=1",
        **{"X-Request-Id": "of-the-test"},
    )  # fmt: skip
    assert answer.status_code == 200
    span, inner = collector.tree(trace)
    assert (span.name, span.parent_id, span.state) == ("POST /invocations", PARENT, "vendor=1")
    assert span.status == 0
    expected = {
        "http.request.method": "POST", "url.path": "/invocations", "url.scheme": "http",
        "http.route": "/invocations", "http.response.status_code": 200,
        "launcher.request_id": "of-the-test", "mlflow.model.name": "traced-one",
        "client.address": "127.0.0.1", "server.address": "127.0.0.1",
        "server.port": int(url.rpartition(":")[2]),
    }  # fmt: skip
    assert expected.items() <= span.attributes.items()
    assert span.attributes["mlflow.model.uri"].endswith("/obedient")
    assert span.resource["service.name"] == "traced-one"
    assert span.resource["deployment.environment.name"] == "tests"
    assert collector.paths[-1] == "/v1/traces"
    assert collector.headers[-1]["x-key"] == "of-tests"
    # Real times: one after the other within the request.
    assert set(inner) == STAGES
    order = [inner[name] for name in ("queue", "parse", "predict", "encode")]
    times = [span.start, *(t for each in order for t in (each.start, each.end)), span.end]
    assert times == sorted(times)
    assert inner["predict"].end - inner["predict"].start >= 0.2e9
    line = launcher.wait_for(r'"request_id": "of-the-test"').string
    assert json.loads(line)["trace_id"] == trace


def test_without_a_parent_a_trace_begins_here(
    collector: Collector, server: tuple[Launcher, str]
) -> None:
    _, url = server
    for number, header in enumerate(
        ["", "00-" + "0" * 32 + "-" + PARENT + "-01", f"ff-{TRACE}-{PARENT}-01", "nonsense"]
    ):
        request_id = f"begins-{number}"
        post(url, command("done"), traceparent=header, **{"X-Request-Id": request_id})
        [span] = collector.wait_for(
            lambda each, wanted=request_id: each.attributes.get("launcher.request_id") == wanted
        )
        assert span.parent_id == ""
        assert span.trace_id not in (TRACE, "0" * 32)


@pytest.mark.parametrize(
    ("number", "path", "body", "status", "name"),
    [
        (10, "/invocations", command("raise"), 400, "POST /invocations"),
        (11, "/invocations", b"{", 400, "POST /invocations"),
        (12, "/nowhere", {}, 404, "POST"),
        (13, "/v2/models/traced-one/infer", {}, 400, "POST /v2/models/<name>/infer"),
    ],
)
def test_a_request_that_is_refused_has_its_status(
    collector: Collector, server: tuple[Launcher, str], number: int, path: str, body: Any,
    status: int, name: str,
) -> None:  # fmt: skip
    trace, header = traceparent(number)
    answer = post(server[1], body, path, traceparent=header)
    assert answer.status_code == status
    span, _ = collector.tree(trace)
    assert span.name == name
    assert span.attributes["http.response.status_code"] == status
    # An error of the client's is none of the server's.
    assert span.status == 0


def test_what_its_sender_does_not_sample_has_no_span(
    collector: Collector, server: tuple[Launcher, str]
) -> None:
    unsampled, header = traceparent(20, "00")
    post(server[1], command("done"), traceparent=header)
    sampled, header = traceparent(21)
    post(server[1], command("done"), traceparent=header)
    collector.tree(sampled)
    assert unsampled not in {span.trace_id for span in collector.spans}


def test_a_probe_has_a_span_only_if_it_is_traced(
    collector: Collector, server: tuple[Launcher, str]
) -> None:
    url = server[1]
    assert requests.get(f"{url}/ping", timeout=60).status_code == 200
    trace, header = traceparent(30)
    requests.get(f"{url}/ping", headers={"traceparent": header}, timeout=60)
    span, inner = collector.tree(trace)
    assert (span.name, inner) == ("GET /ping", {})
    assert [each.name for each in collector.spans].count("GET /ping") == 1
    assert "launcher_untraced_requests_total 0" in requests.get(f"{url}/metrics", timeout=60).text
