"""What the server's processes hand down, and what they leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.scoring_server.serving_process import ROOT, serving, write_config
from tests.scoring_server.test_survival import command, replaced

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="there is no /proc: run on Linux"
)

# Each row starts daemons that outlive what started them, one by exec and one by fork alone.
DAEMONS = """
import os, pathlib, subprocess, sys, time

HERE = pathlib.Path(__file__).parent

def note(name):
    (HERE / (name + ".part")).write_text(str(os.getpid()))
    (HERE / (name + ".part")).rename(HERE / name)

def by_exec(name):
    part, whole = str(HERE / (name + ".part")), str(HERE / name)
    subprocess.Popen(
        ["sh", "-c", 'setsid sleep 600 & echo $! > "$1"; mv "$1" "$2"', "sh", part, whole],
        close_fds=False,
    ).wait()

def by_fork(name):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    note(name)
    time.sleep(600)
    os._exit(0)

def by_nested_fork(name):
    if os.fork():
        return
    if os.fork():
        time.sleep(600)
    os.setsid()
    note(name)
    time.sleep(600)

class Model:
    def predict(self, model_input):
        what = int(model_input.iloc[0, 0])
        if what == 3:
            by_nested_fork("exec"), by_nested_fork("fork")
        if what == 1:
            by_exec("exec"), by_fork("fork")
        elif what == 2:
            os._exit(1)
        return model_input.sum(axis=1).to_numpy()

def _load_pyfunc(path):
    if (HERE / "at-load").exists():
        by_exec("exec"), by_fork("fork")
    return Model()
"""


@contextmanager
def daemons(code: Path) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Gives what the model has started; ended after the block."""
    found: list[psutil.Process] = []

    def started() -> list[psutil.Process]:
        for name in ("exec", "fork"):
            while not (code / name).exists():
                time.sleep(0.01)
            found.append(psutil.Process(int((code / name).read_text())))
        return found

    try:
        yield started
    finally:
        for each in found:
            if each.is_running():
                each.kill()


@pytest.mark.parametrize("when", ["load", "request"])
def test_a_daemon_of_the_model_does_not_hold_the_port(tmp_path: Path, when: str) -> None:
    code = tmp_path / "model" / "code"
    config = write_config(tmp_path / "model", DAEMONS)
    if when == "load":
        (code / "at-load").touch()
    with daemons(code) as started:
        with serving(config) as (url, process):
            if when == "request":
                assert command(url, 1).status_code == 200
            running = started()
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            # Only then are its children this process's, which can wait for them.
            process.wait(30)
            for each in children:
                if each not in running:
                    each.wait(30)
        assert all(each.is_running() for each in running)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", urlsplit(url).port))
            listener.listen()


@pytest.mark.parametrize("how", [1, 3], ids=["daemons", "children of children"])
def test_what_a_worker_left_behind_is_ended_with_it(tmp_path: Path, how: int) -> None:
    code = tmp_path / "model" / "code"
    config = write_config(tmp_path / "model", DAEMONS)
    with daemons(code) as started, serving(config) as (url, process):
        assert command(url, how).status_code == 200
        left = started()
        assert all(each.is_running() for each in left)
        assert command(url, 2).status_code == 500
        for each in left:
            each.wait(30)
        assert command(url, 0).status_code == 200
        # Reaped as well: the worker alone is left.
        assert len(psutil.Process(process.pid).children()) == 1
        assert replaced(url, "crashed") == 1


def test_what_the_model_started_as_it_was_loaded_stays(tmp_path: Path) -> None:
    code = tmp_path / "model" / "code"
    config = write_config(tmp_path / "model", DAEMONS)
    (code / "at-load").touch()
    with daemons(code) as started, serving(config) as (url, _):
        running = started()
        assert command(url, 2).status_code == 500
        assert command(url, 0).status_code == 200
        assert all(each.is_running() for each in running)


def test_the_lifeline_holds_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """An import that does not end, of the first package that is not the standard library's."""
    (tmp_path / "numpy.py").write_text(
        "import pathlib, signal\n"
        f"pathlib.Path({str(tmp_path)!r}, 'imports').touch()\n"
        "while True: signal.pause()\n"
    )
    (tmp_path / "pandas.py").write_text("import numpy\n")
    config = write_config(tmp_path / "model")
    lifeline, launchers_end = os.pipe()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "scoring_server"), str(config), f"--lifeline-fd={lifeline}"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        pass_fds=[lifeline],
        start_new_session=True,
    )
    os.close(lifeline)
    try:
        while not (tmp_path / "imports").exists():
            assert server.poll() is None
            time.sleep(0.01)
        os.close(launchers_end)
        assert server.wait(30) == -signal.SIGKILL
    finally:
        server.kill()
        server.wait()
