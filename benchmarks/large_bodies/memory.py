"""How far front and worker of a server grow for one body (Linux)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import requests

from benchmarks.large_bodies.tables import Body, bodies, numbers, write_config
from benchmarks.running import HOST


@contextmanager
def serving(config: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The scoring server for a configuration, while the block runs."""
    package = Path(__file__).resolve().parents[2] / "scoring_server"
    readable, writable = os.pipe()
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        command = [sys.executable, str(package), str(config)]
        descriptors = [listener.fileno(), writable]
        command += ["--socket-fd", str(descriptors[0]), "--status-fd", str(writable)]
        process = subprocess.Popen(command, pass_fds=descriptors)
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as status:
            if not any(b"ready" in line for line in status):
                raise RuntimeError("The server does not start.")
            yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def grown(frame: pd.DataFrame, body: Body, folder: Path) -> dict[str, Any]:
    """How many bytes front and worker of a new server grew by, at most, for one body."""
    config = write_config(folder, frame, max_body=1 << 30, page=False)
    with serving(config) as (url, front), requests.Session() as session:
        # What is imported by the first request of a kind is no part of it.
        small = next(each for each in bodies(frame.head(10)) if each.name == body.name)
        session.post(url + body.path, small.data, headers=small.headers).raise_for_status()
        processes = {"front": front, "worker": _worker(front)}
        before = {name: _peak(each, start=True) for name, each in processes.items()}
        answer = session.post(url + body.path, body.data, headers=body.headers, timeout=300)
        answer.raise_for_status()
        return {name: _peak(each) - before[name] for name, each in processes.items()}


def _worker(front: psutil.Process) -> psutil.Process:
    return max(front.children(), key=lambda each: each.memory_info().rss)


def _peak(process: psutil.Process, *, start: bool = False) -> int:
    """The most bytes that a process has had resident since the start that is made here (Linux)."""
    if start:
        # proc(5): 5 resets the high-water mark to what is resident now.
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def memory(rows: int, folder: Path) -> Iterator[dict[str, Any]]:
    """What a body of many rows takes, as multiples of its own bytes and of its table's."""
    frame = numbers(rows)
    table = int(frame.memory_usage(index=False).sum())
    for number, body in enumerate(bodies(frame)):
        found = grown(frame, body, folder / str(number))
        yield {
            "format": body.name,
            "bytes": len(body.data),
            "table": table,
            "front_per_body": found["front"] / len(body.data),
            "worker_per_body": found["worker"] / len(body.data),
            "worker_per_table": found["worker"] / table,
        }
