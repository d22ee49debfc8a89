"""Other origins, a root path, compressed bodies and status lines: by the front, by `create_app`."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from scoring_server.config import ConfigError, ServerConfig
from scoring_server.web.cross_origin import CrossOrigin
from scoring_server.web.unix_socket import UnixSocketError, bound_unix_socket
from scoring_server.wsgi import create_app
from tests.scoring_server.serving_process import BODY, serving, write_config

ORIGIN, ROOT = "https://shop.example", "/models/sums"
MAX_BODY = 20_000
JSON = {"Content-Type": "application/json"}
GZIP = {**JSON, "Content-Encoding": "gzip"}
BEARER = {"Authorization": "Bearer sesame"}
V2 = {"inputs": [{"name": n, "datatype": "FP64", "shape": [1], "data": [2.0]} for n in "abcd"]}


class Answered(NamedTuple):
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


Ask = Callable[..., Answered]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "token").write_text("sesame")
    return write_config(
        folder / "model", max_body=MAX_BODY, root_path=ROOT, token_file=str(folder / "token"),
        cors_origin=[ORIGIN, "http://localhost:80"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def front(config: Path) -> Iterator[Ask]:
    with serving(config) as (url, _):
        parts = urlsplit(url)

        def ask(method: str, path: str, body: bytes = b"", **headers: Any) -> Answered:
            connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, {**BEARER, **given})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return Answered(answer.status, answer.reason, _joined(answer.getheaders()), content)

        ask("GET", "/info")  # starts the process of the pages, which stays
        yield ask


@pytest.fixture(scope="module")
def application(config: Path) -> Ask:
    client = create_app(str(config)).test_client()

    def ask(method: str, path: str, body: bytes = b"", **headers: Any) -> Answered:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.open(path, method=method, data=body, headers={**BEARER, **given})
        _, _, reason = answer.status.partition(" ")
        return Answered(answer.status_code, reason, _joined(list(answer.headers)), answer.data)

    return ask


@pytest.fixture(params=["front", "application"])
def ask(request: pytest.FixtureRequest, front: Ask, application: Ask) -> Ask:
    return front if request.param == "front" else application


def _joined(fields: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in fields:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def test_pages_of_a_named_origin_read_answers_and_errors(ask: Ask) -> None:
    for method, path, headers, status in (
        ("POST", "/invocations", JSON, 200),
        ("POST", "/invocations", {"Content-Type": "text/html"}, 415),
        ("GET", "/invocations", {}, 405),
        ("GET", "/nothing", {}, 404),
        ("GET", "/info", {"Authorization": ""}, 401),
        ("GET", "/ping", {}, 200),
        ("GET", "/info", {}, 200),
    ):
        body = BODY if method == "POST" else b""
        answer = ask(method, path, body, Origin=ORIGIN, **headers)
        assert answer.status == status, path
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"
        stranger = ask(method, path, body, Origin="https://other.example", **headers)
        assert stranger.status == status
        assert not any(name.startswith("Access-Control") for name in stranger.headers)
        assert stranger.headers["Vary"] == "Origin"
    # As browsers write the one with the default port.
    assert "Access-Control-Allow-Origin" in ask("GET", "/ping", Origin="http://localhost").headers


def test_browsers_are_told_what_they_may_send(ask: Ask) -> None:
    asked = {
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Authorization": "",
        "Access-Control-Request-Headers": "authorization,content-type",
    }  # fmt: skip
    for path in ("/invocations", ROOT + "/invocations", "/v2/models/model/infer"):
        answer = ask("OPTIONS", path, **asked)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert {"Origin", "Access-Control-Request-Method"} <= set(
            answer.headers["Vary"].split(", ")
        )
    assert ask("OPTIONS", "/ping", **asked).headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    stranger = ask("OPTIONS", "/invocations", **{**asked, "Origin": "https://other.example"})
    assert stranger.status == 403
    assert "Access-Control-Allow-Origin" not in stranger.headers
    # None of these is what a browser asks: they need the token.
    assert ask("OPTIONS", "/nothing", **asked).status == 401
    assert ask("OPTIONS", "/invocations", b"body", **asked).status == 401
    assert ask("OPTIONS", "/invocations", Origin=ORIGIN, Authorization="").status == 401
    assert ask("OPTIONS", "/invocations", Origin=ORIGIN).headers["Allow"] == "POST"


def test_all_pages_are_let_in_without_credentials() -> None:
    everybody = CrossOrigin(["*"])
    for origin in (None, ORIGIN, "null"):
        headers = dict(everybody.headers(origin))
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert not {"Access-Control-Allow-Credentials", "Vary"} & set(headers)
    for wrong in (["*", ORIGIN], ["null"], ["shop.example"], [ORIGIN + "/"], [ORIGIN + "\r\nA: b"]):
        with pytest.raises(ConfigError):
            CrossOrigin(wrong)


def test_a_root_path_is_there_or_taken_off(ask: Ask) -> None:
    for prefix in ("", ROOT):
        assert ask("GET", prefix + "/ping").status == 200
        assert ask("GET", prefix + "/info").status == 200
        assert ask("HEAD", prefix + "/info").body == b""
        assert b"10.0" in ask("POST", prefix + "/invocations", BODY, **JSON).body
        answer = ask("POST", prefix + "/v2/models/model/infer", json.dumps(V2).encode(), **JSON)
        assert json.loads(answer.body)["outputs"][0]["data"] == [8.0]
        assert "error" in json.loads(ask("GET", prefix + "/v2/nothing").body)
    assert ask("GET", ROOT).status == 404
    assert ask("GET", ROOT + ROOT + "/ping").status == 404


def test_links_of_the_application_begin_with_the_root_path(config: Path) -> None:
    import flask

    app = create_app(str(config))
    seen = []
    app.before_request_funcs[None].append(lambda: seen.append(flask.request.root_path))
    client = app.test_client()
    for environ in ({}, {"SCRIPT_NAME": ROOT}):
        for path in ("/ping", ROOT + "/ping"):
            assert client.get(path, environ_overrides=environ).status_code == 200
    assert seen == [ROOT] * 4


def test_compressed_bodies_are_taken_by_all_that_predicts(ask: Ask) -> None:
    assert ask("POST", "/invocations", gzip.compress(BODY), **GZIP).body == (
        ask("POST", "/invocations", BODY, **JSON).body
    )
    table = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    assert (
        b"10.0" in ask("POST", "/invocations", gzip.compress(b"a,b,c,d\n1,2,3,4\n"), **table).body
    )
    answer = ask("POST", "/v2/models/model/infer", gzip.compress(json.dumps(V2).encode()), **GZIP)
    assert json.loads(answer.body)["outputs"][0]["data"] == [8.0]
    text = json.dumps(
        {"inputs": [{"name": n, "datatype": "FP64", "shape": [1],
                     "parameters": {"binary_data_size": 8}} for n in "abcd"]}
    ).encode()  # fmt: skip
    body = gzip.compress(text + b"\0\0\0\0\0\0\0\x40" * 4)
    binary = {"Inference-Header-Content-Length": str(len(text)), "Content-Encoding": "gzip"}
    answer = ask("POST", "/v2/models/model/infer", body, **binary)
    assert json.loads(answer.body)["outputs"][0]["data"] == [8.0]


def test_compressed_bodies_that_are_refused(ask: Ask) -> None:
    for path, form in (("/invocations", "message"), ("/v2/models/model/infer", "error")):
        for body, encoding, status, reason in (
            (gzip.compress(bytes(MAX_BODY + 1)), "gzip", 413, "Content Too Large"),
            (gzip.compress(BODY)[:-3], "gzip", 400, "Bad Request"),
            (BODY, "gzip", 400, "Bad Request"),
            (BODY, "br", 415, "Unsupported Media Type"),
            (gzip.compress(gzip.compress(BODY)), "gzip, gzip", 415, "Unsupported Media Type"),
        ):
            answer = ask("POST", path, body, **{**JSON, "Content-Encoding": encoding})
            assert (answer.status, answer.reason) == (status, reason)
            assert form in json.loads(answer.body)
            assert (answer.headers.get("Accept-Encoding") == "gzip") == (status == 415)
    too_large = ask("POST", "/invocations", bytes(MAX_BODY + 1), **JSON)
    assert (too_large.status, too_large.reason) == (413, "Content Too Large")


def test_a_unix_socket_is_served_on_without_a_launcher(tmp_path: Path) -> None:
    import subprocess

    from scoring_server.container.__main__ import ping

    path = tmp_path / "s"
    config = write_config(tmp_path / "model", uds=str(path))
    # What a server that was killed left behind.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    process = subprocess.Popen([sys.executable, "-m", "scoring_server", str(config)])
    try:
        while ping(str(config), {}):
            assert process.poll() is None
        with pytest.raises(UnixSocketError, match="Another server"), bound_unix_socket(str(path)):
            pass
        assert ping(str(config), {}) == 0
    finally:
        process.terminate()
        process.wait(30)
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_a_unix_socket_has_no_certificate(tmp_path: Path) -> None:
    from scoring_server.serving import _tls

    settings = ServerConfig().server._replace(uds="/run/x", tls_cert="/x.pem")
    with pytest.raises(ConfigError, match="unix socket"):
        _tls(ServerConfig(server=settings))
