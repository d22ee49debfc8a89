"""The server's connections: what is malformed, slow, too much, or comes while the model is busy."""

from __future__ import annotations

import concurrent.futures
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests

from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    invoke,
    serve_locally,
)

Launch = Callable[..., Launcher]


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the tests that leave it as it was."""
    model = ObedientModel(tmp_path_factory.mktemp("shared") / "obedient")
    launcher = serve_locally(Launcher, model)
    yield launcher.ready()
    assert launcher.stop() == 0


@contextmanager
def connection_to(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    assert parts.hostname
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=30) as connection:
        yield connection


def talk(url: str, *pieces: bytes) -> bytes:
    """Send pieces, one packet each; everything that comes back until the server closes."""
    with connection_to(url) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


BODY = json.dumps(command("done")).encode()
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DONE = b'"done"]}'  # with orjson there is no blank before it


def test_the_server_s_http(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient, "--max-body", "1000")
    url = launcher.ready()

    # Byte by byte, in chunks with extensions and a trailer, and two requests in one packet.
    assert DONE in talk(url, *(WHOLE[at : at + 1] for at in range(len(WHOLE))))
    chunked = CHUNKED + b"5;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Sum: x\r\n\r\n" % (
        BODY[:5], len(BODY) - 5, BODY[5:],
    )  # fmt: skip
    assert DONE in talk(url, *(chunked[at : at + 3] for at in range(0, len(chunked), 3)))
    assert talk(url, WHOLE + WHOLE).count(DONE) == 2
    old = WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"Connection: close" in talk(url, old)
    expecting = WHOLE.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length")
    head, _, body = expecting.partition(b"\r\n\r\n")
    with connection_to(url) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert DONE in connection.recv(10000)

    assert talk(url, b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\n")
    for refused, status in (
        (b"hello\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\nHost: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: +2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n{}", 501),
        (CHUNKED + b"2\r\n{}3\r\n", 400),
        (CHUNKED + b"-2\r\n{}\r\n", 400),
        (CHUNKED + b"fff\r\n", 413),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ):
        answer = talk(url, refused)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (refused[:200], answer)
        assert b'"error_code"' in answer
    assert invoke(url, command("done")).json() == {"predictions": ["done"]}
    assert launcher.stop() == 0


def test_request_ids_and_traces_are_taken_or_made_and_logged(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(
        launch, obedient, "--access-log", "--log-format", "json", "--slow-request", "0.2"
    )
    url = launcher.ready()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    given = {"X-Request-Id": "from-the-client", "traceparent": trace}
    answer = requests.post(
        f"{url}/invocations", json=command("sleep 0.3"), headers=given, timeout=60
    )
    assert answer.headers["X-Request-Id"] == "from-the-client"
    line = json.loads(launcher.wait_for(r'\{.*"request_id": "from-the-client".*\}')[0])
    assert line["traceparent"] == trace
    assert line["slow"] is True
    assert line["predict"] >= 0.3
    assert line["status"] == 200
    made = invoke(url, command("done")).headers["X-Request-Id"]
    launcher.wait_for(rf'"request_id": "{made}"')
    forged = requests.get(f"{url}/ping", headers={"X-Request-Id": "a b"}, timeout=60)
    assert forged.headers["X-Request-Id"] != "a b"
    assert launcher.stop() == 0


def test_ping_answers_while_the_model_keeps_the_interpreter_to_itself(shared_url: str) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool, requests.Session() as session:
        busy = pool.submit(invoke, shared_url, command("seize 3"))
        took = []
        while not busy.done():
            started = time.monotonic()
            assert session.get(f"{shared_url}/ping", timeout=60).status_code == 200
            took.append(time.monotonic() - started)
        assert busy.result().status_code == 200
    # The median, since any single one may wait for a CPU that other processes use.
    assert sorted(took)[len(took) // 2] < 0.05


def test_beyond_the_backlog_requests_are_refused_at_once(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient, "--backlog", "1", "--timeout", "60")
    url = launcher.ready()
    obedient.hold("predict")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        waiting = [pool.submit(invoke, url, command("done")) for _ in range(3)]
        refused = [each.result() for each in _first_done(waiting)]
        assert refused
        for answer in refused:
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.elapsed.total_seconds() < 5
        obedient.let_go("predict")
        assert first.result().json() == {"predictions": ["met"]}
        statuses = sorted(each.result().status_code for each in waiting)
    assert 200 in statuses
    assert launcher.stop() == 0


def _first_done(
    waiting: list[concurrent.futures.Future[requests.Response]],
) -> set[concurrent.futures.Future[requests.Response]]:
    done, _ = concurrent.futures.wait(
        waiting, timeout=30, return_when=concurrent.futures.FIRST_COMPLETED
    )
    return done


def test_slow_clients_take_no_worker(shared_url: str) -> None:
    parts = urlsplit(shared_url)
    slow = [socket.create_connection((parts.hostname, parts.port)) for _ in range(50)]
    for connection in slow:
        connection.sendall(WHOLE[:-3])
    assert invoke(shared_url, command("done")).json() == {"predictions": ["done"]}
    for connection in slow:
        connection.sendall(WHOLE[-3:])
    assert all(DONE in connection.recv(10000) for connection in slow)
    for connection in slow:
        connection.close()


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"])
def test_a_client_that_reads_slowly_gets_all_and_holds_nobody_up(
    shared_url: str, closing: bytes
) -> None:
    body = json.dumps(command("large")).encode()
    with connection_to(shared_url) as slow:
        slow.sendall(HEAD + closing + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        received = slow.recv(1 << 16)
        assert received.startswith(b"HTTP/1.1 200 ")
        for _ in range(5):
            assert invoke(shared_url, command("done")).json() == {"predictions": ["done"]}
        size = len(received)
        while size < 20_000_000:
            piece = slow.recv(1 << 20)
            assert piece
            size += len(piece)


@pytest.mark.parametrize("kind", ["sleep", pytest.param("seize", marks=pytest.mark.slow)])
def test_a_prediction_past_its_time_is_given_up_and_its_worker_replaced(
    launch: Launch, obedient: ObedientModel, kind: str
) -> None:
    launcher = serve_locally(launch, obedient, "--timeout", "1")
    url = launcher.ready()
    worker, server = invoke(url, command("parents")).json()["predictions"]
    answer = invoke(url, command(f"{kind} 600"))
    assert answer.status_code == 504
    assert answer.json()["error_code"] == "DEADLINE_EXCEEDED"
    after = invoke(url, command("parents")).json()["predictions"]
    assert after[0] != worker
    assert after[1] == server
    assert launcher.stop() == 0


def test_requests_that_wait_in_a_dying_worker_go_to_the_next(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    with requests.Session() as session:
        for _ in range(100):  # so that the worker is fast, and gets requests ahead
            session.post(f"{url}/invocations", json=command("done"), timeout=60)
    obedient.hold("predict")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        waiting = [pool.submit(invoke, url, command("done")) for _ in range(3)]
        # The faster the worker has been, the more of them it has ahead.
        metric = re.compile(r"^launcher_in_flight_requests [2-4]$", re.MULTILINE)
        while not metric.search(requests.get(f"{url}/metrics", timeout=60).text):
            assert not first.done()
        launcher.wait_for_descendants(2)[1].kill()
        assert first.result().status_code == 500
        assert "SIGKILL" in first.result().json()["message"]
        assert [each.result().status_code for each in waiting] == [200] * 3
    assert launcher.stop() == 0


def test_metrics_count_over_all_workers(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient, "--workers", "2")
    url = launcher.ready()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: invoke(url, command("sleep 0.01")), range(20)))
    invoke(url, "not json")
    text = requests.get(f"{url}/metrics", timeout=60).text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert figures['launcher_requests_total{route="/invocations",status="200"}'] == "20"
    assert figures['launcher_requests_total{route="/invocations",status="400"}'] == "1"
    assert figures["launcher_workers"] == "2"
    assert figures['launcher_stage_duration_seconds_count{stage="predict"}'] == "20"
    assert float(figures['launcher_stage_duration_seconds_sum{stage="predict"}']) >= 0.2
    assert float(figures["launcher_model_load_seconds"]) > 0
    assert len(re.findall('launcher_resident_memory_bytes{process="worker"', text)) == 2
    buckets = re.findall(
        r'launcher_request_duration_seconds_bucket{route="/invocations",le="[^"]+"} (\d+)', text
    )
    assert list(map(int, buckets)) == sorted(map(int, buckets))
    assert buckets[-1] == "21"
    assert launcher.stop() == 0
