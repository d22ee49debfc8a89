"""What a further worker costs in memory: ``python -m benchmarks.start.memory``.

Serves a model with 1, 2 and 4 workers in turn, sends some thousand requests, and reads what each
worker's process has of its own (USS: pages that no other process shares) and its share of all
(PSS). Linux only; ends by itself within 2 minutes once the model's environment is there.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.bodies import three_rows
from benchmarks.installing import ROOT, install_launcher
from benchmarks.peers import Peer
from benchmarks.running import HOST, serve

CONNECTIONS = 16


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start.memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=4000, help="to each worker")
    parser.add_argument("--model", type=Path, default=ROOT / "fixtures" / "iris")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--cache", type=Path, help="a folder that is kept, for another run")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cache = options.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache.mkdir(exist_ok=True)
        install_launcher(options.model, cache)
        print("| workers | a worker's own, MB: at readiness, afterwards | all processes, PSS, MB |")
        print("| --- | --- | --- |")
        for workers in options.workers:
            peer = Peer(
                name=f"workers-{workers}",
                title="",
                command=lambda setup: [
                    *(str(setup.python), "-m", "launcher", "serve", "-m", str(setup.model)),
                    *("-h", setup.host, "-p", str(setup.port), "--workers", str(setup.workers)),
                ],
            )
            with serve(peer, Path(sys.executable), options.model, cache, workers) as running:
                server = server_below(running.process)
                before = statistics.median(own_megabytes(server))
                ask(int(running.url.rpartition(":")[2]), options.requests * workers)
                own = own_megabytes(server)
                after = ", ".join(f"{each:.1f}" for each in own)
                total = running.memory()[1]
                print(f"| {workers} | {before:.1f}; {after} | {total:.0f} |", flush=True)


def server_below(launcher: psutil.Process) -> psutil.Process:
    """The server's process, whose children are its workers."""
    return next(each for each in launcher.children() if each.children())


def own_megabytes(server: psutil.Process) -> list[float]:
    """Megabytes that each worker alone has."""
    return [each.memory_full_info().uss / 1e6 for each in server.children()]


def ask(port: int, count: int) -> None:
    """Send that many requests over some connections."""

    body = three_rows()

    def some(number: int) -> None:
        connection = http.client.HTTPConnection(HOST, port)
        for _ in range(number):
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"answered {answer.status}")
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(some, [count // CONNECTIONS] * CONNECTIONS))


if __name__ == "__main__":
    main()
