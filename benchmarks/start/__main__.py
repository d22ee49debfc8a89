"""What a start costs, beside a Python that does no more: ``python -m benchmarks.start``.

In turn, for each environment manager: the seconds from the command
``launcher serve`` to the first answer of ``/invocations``, the environment being there, and those
of ``python -c`` in the same environment that imports the model's libraries and loads it, to its
end. The client connects as soon as the port listens, and sends at once. Ratios are medians of the
pairs. Uses 127.0.0.1 only; ends by itself, after a minute once the environment
is there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.bodies import three_rows
from benchmarks.installing import ROOT, launcher_environ
from benchmarks.running import HOST, READY_SECONDS, free_port
from benchmarks.start.asked import MODEL, asked

# What a program would begin with that knows the model; argv: the model's folder.
BARE = """
import pickle, sys, numpy, pandas, sklearn.linear_model
with open(sys.argv[1] + "/model.pkl", "rb") as file:
    pickle.load(file)
"""
BODY = three_rows()


@dataclass(frozen=True)
class Case:
    """In which environment the model is served; `python` is that one's interpreter."""

    env_manager: str
    python: Path


def main() -> None:
    """Read the arguments, measure, print."""
    with asked("", __doc__, "pairs", 15) as (count, cache, python):
        print("| env-manager | first answer, s | bare Python, s | ratio | quarters |")
        print("| --- | --- | --- | --- | --- |")
        for case in (Case("virtualenv", python), Case("local", python)):
            print(line(case, pairs(case, count, cache)), flush=True)


def pairs(case: Case, count: int, cache: Path) -> list[tuple[float, float]]:
    """Seconds of the launcher and of a bare Python, in turn."""
    if case.env_manager == "local":
        has_launcher_too(case.python)
    first_answer(case, cache)  # writes what bytecode is not there
    bare_python(case, cache)
    found = []
    for number in range(count):
        if number % 2:
            bare = bare_python(case, cache)
            found.append((first_answer(case, cache), bare))
        else:
            ours = first_answer(case, cache)
            found.append((ours, bare_python(case, cache)))
    return found


def has_launcher_too(python: Path) -> None:
    """Install the launcher itself, for an environment that serves from where it runs."""
    import uv

    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*command, "--editable", str(ROOT)], check=True)


def first_answer(case: Case, cache: Path) -> float:
    """Seconds from the start of the command to the first answer."""
    port = free_port()
    python = case.python if case.env_manager == "local" else Path(sys.executable)
    command = [str(python), "-m", "launcher", "serve", "-m", str(MODEL)]
    command += ["-p", str(port), "-h", HOST, "--env-manager", case.env_manager]
    environ = launcher_environ(cache)
    log = cache / "start.log"
    with log.open("wb") as output, started(command, environ, output) as (process, began):
        head = f"POST /invocations HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        with connected(port, process, log) as connection:
            connection.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
            answer = connection.recv(65536)
        seconds = time.perf_counter() - began
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    return seconds


@contextlib.contextmanager
def started(
    command: list[str], environ: dict[str, str], output: BinaryIO
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run a command in a session of its own while the block runs; with when it began."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process, began
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def connected(port: int, process: subprocess.Popen[bytes], log: Path) -> socket.socket:
    """A connection, as soon as there can be one; what can be waited on is the port alone."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((HOST, port), timeout=READY_SECONDS)
        time.sleep(0.001)
    raise RuntimeError(f"the server did not become ready: {log.read_text()}")


def bare_python(case: Case, cache: Path) -> float:
    """Seconds of a Python that imports the libraries and loads the model."""
    began = time.perf_counter()
    command = [str(case.python), "-c", BARE, str(MODEL)]
    subprocess.run(command, check=True, env=launcher_environ(cache), stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def line(case: Case, found: list[tuple[float, float]]) -> str:
    """A line of the table."""
    ratios = [ours / bare for ours, bare in found]
    low, _, high = statistics.quantiles(ratios, n=4)
    ours, bare = (statistics.median(each) for each in zip(*found, strict=True))
    return (
        f"| {case.env_manager} | {ours:.3f} | {bare:.3f} | "
        f"{statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |"
    )


if __name__ == "__main__":
    main()
