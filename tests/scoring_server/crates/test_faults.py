"""Crates that fail, print, hang and quit, behind the server."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.scoring_server.crates.crates import needs_r, write_config
from tests.scoring_server.serving_process import serving

pytestmark = [needs_r, pytest.mark.slow]


class Served:
    """A crate behind a server of its own."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.url = url
        self.process = process
        self.folder = folder

    def ask(self, what: str, **columns: Any) -> requests.Response:
        body = {"dataframe_records": [{"what": what, **columns}]}
        return requests.post(f"{self.url}/invocations", json=body, timeout=120)

    def message(self, what: str) -> tuple[int, str]:
        answer = self.ask(what)
        return answer.status_code, answer.json()["message"]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def serve(crates: Path, tmp_path: Path) -> Any:
    """Serve the crate "faults"; its temporary files are below `folder`."""

    @contextmanager
    def run(name: str = "faults", **server: Any) -> Iterator[Served]:
        config = write_config(crates / name, tmp_path / "config.json", **server)
        with serving(config) as (url, process):
            yield Served(url, process, tmp_path)
        assert list(tmp_path.glob("scoring-server-*")) == []

    return run


def test_each_fault_costs_one_request_and_no_more(serve: Any, capfd: Any) -> None:
    with serve(timeout=60) as served:
        pid = served.ask("pid").json()["predictions"]
        assert served.message("stop") == (400, "The model raised RError: it failed: \u00e4")
        assert served.message("condition") == (400, "The model raised RError: of its own")
        status, message = served.message("recursion")
        assert (status, "nested too deeply" in message or "stack" in message) == (400, True)
        for what in ("warning", "print", "clear"):
            assert served.ask(what).json() == {"predictions": [1]}, what
        # None of this is a reason for another R.
        assert served.ask("pid").json()["predictions"] == pid
        for what, did in (
            ("quit", "R exited with code 3"),
            ("kill", "R was killed by signal 9"),
            ("abort", "R exited with code 1"),
            ("connections", "R exited with code 1"),
            ("background", "R ended"),
        ):
            status, message = served.message(what)
            assert (status, message) == (500, f"{did} while it answered this request.")
            assert served.ask("fine").json() == {"predictions": [1]}, what
        # What it writes into the pipe itself is no answer.
        status = served.ask("write").status_code
        assert status in (200, 500)
        assert served.ask("fine").status_code == (200 if status == 500 else 500)
        assert served.ask("fine").json() == {"predictions": [1]}
        metrics = requests.get(f"{served.url}/metrics", timeout=10).text
        assert 'launcher_worker_replacements_total{reason="crashed"} 6' in metrics
    output = capfd.readouterr()
    log = output.out + output.err
    for words in ("beware", "on standard output", "echo from a program", "R: it failed"):
        assert words.removeprefix("echo ") in log, words


def test_a_loop_ends_at_the_time_limit(serve: Any) -> None:
    with serve(timeout=3) as served:
        before = {each.pid for each in served.family()}
        assert served.ask("loop").status_code == 504
        deadline = time.monotonic() + 60
        while served.ask("fine").status_code != 200:
            assert time.monotonic() < deadline
        # The R that looped is gone, and its folder.
        assert not any(psutil.pid_exists(pid) and _is_r(pid) for pid in before)
        [folder] = (served.folder).glob("scoring-server-*")
        deadline = time.monotonic() + 10
        while len(list(folder.iterdir())) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _is_r(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "R" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_temporary_files_are_the_workers_own(serve: Any) -> None:
    with serve() as served:
        [folder] = served.ask("file").json()["predictions"]
        assert served.folder in Path(folder).parents
        assert any(Path(folder).iterdir())
        # R does not get to clean up.
        assert served.ask("kill").status_code == 500
        assert served.ask("fine").status_code == 200
        deadline = time.monotonic() + 10
        while Path(folder).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_terminals_interrupt_is_not_for_r(serve: Any) -> None:
    with serve() as served:
        [r] = served.ask("pid").json()["predictions"]
        answers: list[requests.Response] = []
        asking = threading.Thread(target=lambda: answers.append(served.ask("slow")))
        asking.start()
        while psutil.Process(r).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.01)
        time.sleep(0.3)  # well within the second that the request takes
        os.kill(r, signal.SIGINT)
        asking.join()
        assert answers[0].json() == {"predictions": [r]}
        assert served.ask("fine").status_code == 200


def test_memory_beyond_the_bound_costs_the_request_and_the_worker(serve: Any) -> None:
    with serve(worker_memory=500_000_000) as served:
        status, message = served.message("memory")
        assert (status, "--worker-memory" in message) == (500, True), message
        assert served.ask("fine").status_code == 200


def test_what_cannot_be_loaded_says_why(crates: Path, tmp_path: Path) -> None:
    from scoring_server.config import ServerConfig
    from scoring_server.errors import ModelLoadError
    from scoring_server.model.loading import load_model

    for name, words in (
        ("no_function", "it is no function, but of class crate"),
        ("damaged", "R cannot load the crate"),
        ("missing", "The model has no file crate.bin"),
    ):
        folder = crates / name
        if name == "damaged" and not folder.exists():
            folder.mkdir()
            (folder / "crate.bin").write_bytes(b"no RDS")
        config = ServerConfig.read(str(write_config(folder, tmp_path / "config.json")))
        with pytest.raises(ModelLoadError, match=words):
            load_model(config)


@pytest.mark.parametrize(
    "number",
    [pytest.param(10, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.long)],
)
def test_workers_in_a_row_leave_nothing(serve: Any, number: int, capfd: Any) -> None:
    with serve("twice", max_requests=1, workers=2) as served:
        for each in range(number):
            body = {"inputs": {"x": [each]}}
            answer = requests.post(f"{served.url}/invocations", json=body, timeout=120)
            assert answer.json() == {"predictions": [2 * each]}
        [folder] = served.folder.glob("scoring-server-*")
        deadline = time.monotonic() + 60
        # Two workers with an R and a folder each, and the process of the pages.
        while len(served.family()) > 5 or len(list(folder.iterdir())) > 2:
            assert time.monotonic() < deadline, served.family()
            time.sleep(0.1)
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
