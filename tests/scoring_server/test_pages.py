"""What the model does not answer never waits for it: probes, errors, pages."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.scoring_server.serving_process import BODY, ROOT, serve_locally, serving, write_config
from tests.scoring_server.test_disconnects import WAITING

JSON = {"Content-Type": "application/json"}
# The configuration's smallest: no request may wait for a worker.
FULL = {"backlog": 1, "timeout": 20}


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A server whose worker and queue are full until the block ends; its URL and process id."""
    config = write_config(tmp_path / "model", WAITING, **FULL)
    with serving(config) as (url, process), ThreadPoolExecutor(2) as clients:
        try:
            for _ in range(2):
                clients.submit(predict, url)
            while "launcher_queue_depth 1\n" not in requests.get(f"{url}/metrics").text:
                time.sleep(0.01)
            assert predict(url).status_code == 503
            yield url, process.pid
        finally:
            (tmp_path / "model" / "code" / "gate").touch()


def predict(url: str) -> requests.Response:
    return requests.post(f"{url}/invocations", data=BODY, headers=JSON, timeout=60)


def pages_pid(url: str) -> int:
    text = requests.get(f"{url}/metrics", timeout=60).text
    found = re.findall(r'process="pages",pid="(\d+)"', text)
    return int(found[0]) if found else 0


def test_nothing_but_predictions_waits_for_the_model(busy: tuple[str, int]) -> None:
    url, _ = busy
    for method, path, status in (
        ("GET", "/ping", 200), ("HEAD", "/health", 200), ("GET", "/metrics", 200),
        ("GET", "/info", 200), ("GET", "/version", 200), ("HEAD", "/info", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing", 404), ("POST", "/ping", 405), ("GET", "/invocations", 405),
    ):  # fmt: skip
        answer = requests.request(method, url + path, timeout=10)
        assert answer.status_code == status, (method, path)
        assert ("Allow" in answer.headers) == (status == 405)
    text = requests.get(f"{url}/metrics", timeout=60).text
    # The process of the pages is neither worker nor capacity.
    assert "launcher_workers 1\n" in text
    assert "launcher_queue_depth 1\n" in text


def test_the_pages_process_is_started_at_first_use_and_again_after_its_end(
    tmp_path: Path,
) -> None:
    with serving(write_config(tmp_path / "model")) as (url, process):
        assert predict(url).status_code == 200
        assert pages_pid(url) == 0
        info = requests.get(f"{url}/info", timeout=60).json()
        assert info["pid"] == process.pid
        first = pages_pid(url)
        os.kill(first, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as clients:
            asked = clients.submit(requests.get, f"{url}/info", timeout=60)
            time.sleep(0.2)  # so that the request is inside; it is lost in any case
            os.kill(first, signal.SIGKILL)
            answer = asked.result()
        assert answer.status_code in (200, 500)
        if answer.status_code == 500:
            assert "SIGKILL" in answer.json()["message"]
        assert requests.get(f"{url}/info", timeout=60).status_code == 200
        second = pages_pid(url)
        assert second not in (0, first)
        assert "worker_replacements_total{" not in requests.get(f"{url}/metrics").text
    # Orphans of a test become this process's children, which tells when they have ended.
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(second).wait(30)


# A page from outside the package, which never ends; with it the server runs as ever.
HANGS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from scoring_server.config import ServerConfig
from scoring_server.protocols.registry import route_groups
from scoring_server.routes import PAGES, Route, RouteGroup
from scoring_server.serving import make_service, serve
from scoring_server.status import StatusChannel
from scoring_server.worker.lifeline import Lifeline

class Hanging(RouteGroup):
    name = "hanging"
    routes = (Route("/hang", ("GET",), PAGES, lambda *_: threading.Event().wait()),)

config = ServerConfig.read(sys.argv[2])
service = make_service(config, groups=[*route_groups(config), Hanging()])
sys.exit(serve(service, int(sys.argv[3]), StatusChannel(int(sys.argv[4])), Lifeline(None)))
"""


@pytest.mark.slow
def test_a_page_that_hangs_is_ended_when_its_time_is_up(tmp_path: Path) -> None:
    config = write_config(tmp_path / "model")

    def command(listener: int, status: int) -> list[str]:
        arguments = [str(ROOT), str(config), str(listener), str(status)]
        return [sys.executable, "-c", HANGS, *arguments]

    with serve_locally(command) as (url, _):
        assert requests.get(f"{url}/info", timeout=60).status_code == 200
        first = pages_pid(url)
        assert requests.get(f"{url}/hang", timeout=60).status_code == 504
        assert predict(url).status_code == 200
        assert requests.get(f"{url}/info", timeout=60).status_code == 200
        assert pages_pid(url) != first


def test_pages_need_no_model_where_the_workers_load_it(tmp_path: Path) -> None:
    code = "import os\nprint('LOADED IN', os.getpid(), file=open(os.environ['NOTES'], 'a'))\n"
    notes = tmp_path / "notes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTES", str(notes))
        config = write_config(tmp_path / "model", code + WAITING, preload=False)
        with serving(config) as (url, _):
            assert requests.get(f"{url}/info", timeout=60).status_code == 200
            assert pages_pid(url)
            assert notes.read_text().count("LOADED IN") == 1


def test_what_is_open_is_a_method_and_a_path(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame")
    with serving(write_config(tmp_path / "model", token_file=str(token))) as (url, _):
        assert requests.get(f"{url}/ping", timeout=60).status_code == 200
        refused = requests.post(f"{url}/ping", timeout=60)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        known = requests.post(f"{url}/ping", headers={"Authorization": "Bearer sesame"}, timeout=60)
        assert known.status_code == 405
