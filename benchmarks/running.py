"""Start a server, wait until it answers, know its memory, stop it with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from benchmarks.installing import launcher_environ
from benchmarks.peers import Peer, Setup

HOST = "127.0.0.1"
READY_SECONDS = 120.0
STOP_SECONDS = 10.0
PROBE_INTERVAL = 0.01
# The same for all that is measured: a thread more takes a processor from who asks.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class StartError(RuntimeError):
    """A server that did not become ready."""


@dataclass
class Running:
    """A server that answers: `ready_seconds` after its process was started."""

    process: psutil.Process
    url: str
    ready_seconds: float

    def memory(self) -> tuple[float, float]:
        """Megabytes (PSS) of the process that was started, and of its descendants."""
        first = megabytes(self.process)
        return first, sum(megabytes(child) for child in self.process.children(recursive=True))

    def processor_seconds(self) -> float:
        """Processor time that the process and its descendants have taken so far."""
        total = 0.0
        for each in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                total += times.user + times.system
        return total


def megabytes(process: psutil.Process) -> float:
    """A process's share of memory (PSS: shared pages count by the number of their users)."""
    try:
        return float(process.memory_full_info().pss) / 1e6
    except psutil.Error:
        return 0.0


def free_port() -> int:
    """An unused port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(
    peer: Peer, python: Path, model: Path, cache: Path, workers: int = 1
) -> Iterator[Running]:
    """Run a peer on a free port of 127.0.0.1 while the block runs.

    :raises StartError: it ended, or did not become ready in time; the message names its log.
    """
    folder = cache / "run" / peer.name
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / "log.txt"
    with log.open("wb") as output, tempfile.TemporaryDirectory(prefix="peer-") as scratch:
        setup = Setup(python, model, folder, HOST, port, workers, free_port, Path(scratch))
        started = time.perf_counter()
        process = subprocess.Popen(
            peer.command(setup),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=_environ(peer, python, cache),
            start_new_session=True,
        )
        try:
            url = f"http://{HOST}:{port}"
            _wait_until_ready(process, url + peer.ready_path, log)
            yield Running(psutil.Process(process.pid), url, time.perf_counter() - started)
        finally:
            _stop(process)


def _environ(peer: Peer, python: Path, cache: Path) -> dict[str, str]:
    environ = {**launcher_environ(cache), **THREADS, **peer.environ}
    if peer.needs_path:
        environ["PATH"] = os.pathsep.join([str(python.parent), environ.get("PATH", "")])
    return environ


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"the server ended with {process.returncode}; its log is {log}")
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=1).status_code == 200:
                return
        time.sleep(PROBE_INTERVAL)
    raise StartError(f"the server was not ready within {READY_SECONDS:g} s; its log is {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group that `serve` started, by its own id, and what left that group."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # psutil knows by the time of its start whether a process is still the one it was.
    for each in family:
        with contextlib.suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(family, STOP_SECONDS)
