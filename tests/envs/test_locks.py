"""Locks between processes: who waits is told for whom, and a signal ends the waiting."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.disk.locks import Mark, exclusive, remove_lock_file, shared, sign, try_exclusive

RunPython = Callable[..., subprocess.Popen[str]]
HOLD = """
    import sys
    from pathlib import Path
    from envs.disk.locks import Mark, exclusive, sign
    path = Path(sys.argv[1])
    with exclusive(path, waiting=lambda pid: print("waits for", pid, flush=True)):
        sign(path)
        print("holds", flush=True)
"""
INTERRUPTED = """
    import signal, sys
    from pathlib import Path
    from envs.disk.locks import exclusive
    class Stop(BaseException): pass
    def stop(number, frame):
        raise Stop
    signal.signal(signal.SIGTERM, stop)
    try:
        with exclusive(Path(sys.argv[1]), waiting=lambda pid: print("waits", flush=True)):
            print("holds", flush=True)
    except Stop:
        print("stopped", flush=True)
"""


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_who_waits_knows_for_whom_and_gets_the_lock_then(
    tmp_path: Path, run_python: RunPython
) -> None:
    path = tmp_path / "locks" / "key"
    with exclusive(path):
        sign(path)
        other = run_python(HOLD, path)
        assert line(other) == f"waits for {os.getpid()}"
        with try_exclusive(path) as locked:
            assert not locked
    assert line(other) == "holds"
    assert other.wait(30) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_signal_ends_the_waiting(tmp_path: Path, run_python: RunPython) -> None:
    path = tmp_path / "key"
    with exclusive(path):
        other = run_python(INTERRUPTED, path)
        assert line(other) == "waits"
        other.send_signal(signal.SIGTERM)
        assert line(other) == "stopped"
        assert other.wait(30) == 0


def test_a_waiter_does_not_take_the_lock_of_a_removed_file(
    tmp_path: Path, run_python: RunPython
) -> None:
    path = tmp_path / "key"
    with exclusive(path):
        other = run_python(HOLD, path)
        assert line(other).startswith("waits for")
        remove_lock_file(path)
    assert line(other) == "holds"
    assert path.read_text().strip() == str(other.pid)
    assert other.wait(30) == 0


def test_a_shared_lock_is_waited_for_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "key"
    got = threading.Event()

    def wait() -> None:
        with exclusive(path):
            got.set()

    with shared(path), shared(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.3)
    assert got.wait(30)
    thread.join()


def test_a_lock_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"), exclusive(tmp_path / "file" / "key"):
        pass


def test_a_mark_that_cannot_be_removed_is_released(tmp_path: Path) -> None:
    """As on a disk that is read-only by now."""
    mark = Mark(tmp_path)
    mark.path.unlink()
    mark.path.mkdir()
    mark.release()
    with pytest.raises(ValueError, match="released"):
        mark.fileno()


def test_a_folder_that_is_removed_meanwhile_has_no_lock_to_take(tmp_path: Path) -> None:
    """As when several look after what dead processes have left."""
    folder, ended = tmp_path / "left", threading.Event()

    def remove() -> None:
        while not ended.is_set():
            shutil.rmtree(folder, ignore_errors=True)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(500):
            with try_exclusive(folder / "lock"):
                pass
    finally:
        ended.set()
        remover.join()
