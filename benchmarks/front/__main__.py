"""What a request costs in the front: ``python -m benchmarks.front``, from the project's folder.

The front with one worker whose model costs nothing, and floors (`servers.py`), are asked by
wrk in turn, several times, at 1, 16 and 64 connections: `GET /ping`, and three rows posted to
`/invocations`. What is measured is the processor time of the front's own process for one request,
which is much the same on a busy machine; requests a second on one processor are its inverse. The
front is pinned to one processor; its worker and wrk have the others. httptools and uvloop have to
be there for the floors: ``pip install httptools uvloop``.

``--against TREE`` measures the front of another checkout in the same turns. ``--profile`` prints
which functions the front calls for a request, in place of the rest. On a busy machine, run it as
root and with ``setsid`` before it. Uses 127.0.0.1 only; ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.front.servers import hurry
from benchmarks.load import post

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).with_name("servers.py")
FLOORS = ("asyncio", "asyncio-hop", "uvloop", "uvloop-hop")


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; returns the exit code."""
    hurry()  # so do wrk and the servers, which inherit it
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--against", type=Path, help="another checkout, whose front is measured")
    parser.add_argument("--no-floors", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        body = Path(name, "body.json")
        split = {"columns": list("abcd"), "data": [[1.0, 2.0, 3.0, 4.0]] * 3}
        body.write_text(json.dumps({"dataframe_split": split}))
        if options.profile:
            profile(Path(name), body, options)
            return 0
        servers = {"front": running.enter_context(serving("front", ROOT))}
        if options.against:
            tree = options.against.resolve()
            servers["front of the other"] = running.enter_context(serving("front", tree))
        for floor in () if options.no_floors else FLOORS:
            servers[floor] = running.enter_context(serving(floor, ROOT))
        report(measure(servers, body, options), options)
    return 0


def measure(
    servers: dict[str, tuple[str, int]], body: Path, options: argparse.Namespace
) -> dict[tuple[str, str, int], list[float]]:
    """Microseconds of processor time for a request, each round's: by server, path, connections."""
    found = defaultdict(list)
    for number in range(options.rounds + 1):
        for connections in options.connections:
            for path in ("/ping", "/invocations"):
                for name, (url, process) in servers.items():
                    if path == "/ping" and "hop" in name:
                        continue
                    before, worker_before = processor_seconds(process), children_seconds(process)
                    load = post(
                        url + path, body, "application/json", connections,
                        options.seconds if number else 1,
                        method="GET" if path == "/ping" else "POST",
                    )  # fmt: skip
                    took = processor_seconds(process) - before
                    if load.errors:
                        raise RuntimeError(f"{name}: {load.errors} of {load.requests} failed")
                    if number:  # the first round warms them up
                        found[name, path, connections].append(took / load.requests * 1e6)
                        took = children_seconds(process) - worker_before
                        if path == "/invocations" and name.startswith("front"):
                            worker = f"worker of {name}"
                            found[worker, path, connections].append(took / load.requests * 1e6)
    return found


def report(found: dict[tuple[str, str, int], list[float]], options: argparse.Namespace) -> None:
    """Print the medians, and for the front the ratio of each pair to the others."""
    print(
        "| | | " + " | ".join(f"{each} conn.: µs, a second" for each in options.connections) + " |"
    )
    print("| --- | --- |" + " --- |" * len(options.connections))
    for name, path in dict.fromkeys((name, path) for name, path, _ in found):
        cells = []
        for connections in options.connections:
            took = found[name, path, connections]
            median = statistics.median(took)
            ours = found["front", path, connections]
            ratio = statistics.median(one / other for one, other in zip(ours, took, strict=True))
            cells.append(f"{median:.1f}, {1e6 / median:,.0f} ({ratio:.2f})")
        print(f"| {name} | {path} | " + " | ".join(cells) + " |")
    print("In brackets: the front's time of that one's, the median of the rounds.")


def profile(folder: Path, body: Path, options: argparse.Namespace) -> None:
    """Print what the front calls for a request."""
    for connections in options.connections:
        file = folder / f"profile{connections}"
        with serving("front", ROOT, "-m", "cProfile", "-o", str(file)) as (url, process):
            post(f"{url}/invocations", body, "application/json", connections, 1)
            load = post(f"{url}/invocations", body, "application/json", connections, 3)
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)
        print(connections, "connections,", load.requests, "requests and those of one second before")
        command = (
            f"import pstats; pstats.Stats({str(file)!r}).sort_stats('tottime').print_stats(45)"
        )
        subprocess.run([sys.executable, "-c", command], check=True)


@contextlib.contextmanager
def serving(what: str, tree: Path, *prefix: str) -> Iterator[tuple[str, int]]:
    """Run a server while the block runs; its address, and the process of its front.

    :param tree: the checkout whose packages it imports.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, *prefix, str(SERVERS), what, str(listener.fileno())],
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONPATH": str(tree)},
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        if not any(b"ready" in line for line in process.stdout):
            raise RuntimeError(f"{what} did not start")
        yield url, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def processor_seconds(process: int) -> float:
    """Processor time of a process so far, its children's not included."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int(Path(task, "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def children_seconds(process: int) -> float:
    """Processor time of its children so far: of the front, its worker."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return sum(processor_seconds(int(each)) for each in children)


if __name__ == "__main__":
    sys.exit(main())
