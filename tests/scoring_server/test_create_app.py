"""`create_app` behind WSGI servers from PyPI answers as our front does."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scoring_server.environments import MINIMAL, build
from tests.scoring_server.serving_process import BODY, ROOT, serving, write_config

MAX_BODY = 10_000
# Headers that a client may rely on.
HEADERS = ("Content-Type", "Allow", "WWW-Authenticate", "Content-Length")
JSON, BEARER = {"Content-Type": "application/json"}, {"Authorization": "Bearer sesame"}
STREAMS = """
class Model:
    def predict(self, model_input, params=None):
        return {"whole": model_input}

    def predict_stream(self, model_input, params=None):
        yield {"got": model_input}
        if model_input.get("fail"):
            raise ValueError("halfway")

def _load_pyfunc(path):
    return Model()
"""
REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", "/invocations", BODY, JSON),
    ("POST", "/invocations", b"a,b,c,d\n1,2,3,4\n", {"Content-Type": "text/csv"}),
    ("POST", "/invocations", b"{", JSON),
    ("POST", "/invocations", b'{"inputs": [1]}', JSON),
    ("POST", "/invocations", BODY, {"Content-Type": "text/html"}),
    ("POST", "/invocations", b"", JSON),
    ("POST", "/invocations", b" " * (MAX_BODY + 1), JSON),
    ("GET", "/invocations", b"", {}),
    ("OPTIONS", "/invocations", b"", {}),
    ("GET", "/ping", b"", {}),
    ("HEAD", "/ping", b"", {}),
    ("GET", "/health", b"", {}),
    ("POST", "/ping", b"", {}),
    ("GET", "/version", b"", {}),
    ("HEAD", "/version", b"", {}),
    ("GET", "/info", b"", {}),
    ("GET", "/nothing", b"", {}),
    ("GET", "/ping/", b"", {}),
    ("POST", "/nothing?a=b", BODY, JSON),
    ("GET", "/%70ing", b"", {}),
]


def wsgi_command(server: str, python: str, config: Path) -> list[str]:
    app = f"scoring_server:create_app({str(config)!r})"
    if server == "gunicorn":
        return [python, "-m", "gunicorn", "-b", "127.0.0.1:0", "--threads", "4", app]
    code = (
        f"import waitress, scoring_server; waitress.serve(scoring_server.create_app({str(config)!r}),"
        " host='127.0.0.1', port=0)"
    )
    return [python, "-c", code]


@contextmanager
def wsgi_server(server: str, home: Path, config: Path) -> Iterator[str]:
    """The address of a WSGI server with the application."""
    import psutil

    # orjson, as this Python has it: its JSON is without blanks.
    python = build(home, None, [*MINIMAL, "gunicorn", "waitress", "orjson"])
    # gunicorn keeps a control socket in the user's home.
    environment = {**os.environ, "HOME": str(config.parent)}
    process = subprocess.Popen(wsgi_command(server, python, config), cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None
            found = [
                c for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"
            ]
            if found:
                url = f"http://127.0.0.1:{found[0].laddr.port}"
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def seen(url: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
    answer = requests.request(method, url + path, data=body, headers=headers, timeout=60)
    content: Any = answer.content
    named = {name: answer.headers.get(name) for name in HEADERS}
    if path == "/info" and answer.status_code == 200:
        content = json.loads(content)
        del content["pid"]
        del named["Content-Length"]
        del content["python"]
    return answer.status_code, named, content


@pytest.mark.parametrize("server", ["gunicorn", pytest.param("waitress", marks=pytest.mark.slow)])
def test_wsgi_servers_answer_as_the_front_does(
    server: str, launcher_home: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "model", max_body=MAX_BODY)
    with serving(config) as (front, _), wsgi_server(server, launcher_home, config) as wsgi:
        for each in REQUESTS:
            assert seen(wsgi, *each) == seen(front, *each), each
        metrics = requests.get(f"{wsgi}/metrics", timeout=60).text
        assert 'launcher_requests_total{route="/invocations",status="200"} 2' in metrics
        assert 'launcher_stage_duration_seconds_count{stage="predict"} 2' in metrics


@pytest.mark.slow
def test_streams_and_tokens_behind_a_wsgi_server(launcher_home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame")
    config = write_config(tmp_path / "model", STREAMS, token_file=str(token))
    document = json.loads(config.read_text())
    document["model"]["flavors"]["python_function"]["streamable"] = True
    config.write_text(json.dumps(document))
    with serving(config) as (front, _), wsgi_server("gunicorn", launcher_home, config) as wsgi:
        for body in (b'{"prompt": "p"}', b'{"prompt": "p", "fail": 1}'):
            for headers in (JSON, {**JSON, **BEARER}):
                each = ("POST", "/invocations", body, {**headers, "Accept": "text/event-stream"})
                assert seen(wsgi, *each) == seen(front, *each)
        for headers in ({}, BEARER):
            for path in ("/ping", "/info", "/nothing"):
                each = ("GET", path, b"", headers)
                assert seen(wsgi, *each) == seen(front, *each)
