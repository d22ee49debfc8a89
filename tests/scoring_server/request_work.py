"""How much work a request is, by kind: ``python -m tests.scoring_server.request_work`` records it.

The counts are bytecode instructions of all processes of a server that runs as it does elsewhere;
`work_baseline.json` has what was recorded, by Python version. Needs strace for the system calls.
"""

from __future__ import annotations

import argparse
import http.client
import json
import platform
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.scoring_server import counted_server
from tests.scoring_server.serving_process import ROOT, serve_locally, serving, write_config

BASELINE = Path(__file__).with_name("work_baseline.json")
RECORD = "python -m tests.scoring_server.request_work"
# What is in the counts, and not the server's own.
LIBRARIES = ("numpy", "pandas", "orjson")
REQUESTS, BATCHES = 40, 8
TRACED_ROUNDS, TRACED_REQUESTS = 5, 20
# More than this much of what was recorded is too much.
BOUND = 1.05
TOGETHER = 16

ROW, COLUMNS = [1.5, 2.5, 3.5, 4.5], list("abcd")
ROWS = [ROW] * 3
JSON, PATH, V2_PATH = "application/json", "/invocations", "/v2/models/model/infer"
V2_INPUTS = [{"name": name, "datatype": "FP64", "shape": [3, 1]} for name in COLUMNS]
V2_HEAD = json.dumps(
    {"inputs": [{**each, "parameters": {"binary_data_size": 24}} for each in V2_INPUTS]}
).encode()


class Kind(NamedTuple):
    """One kind of request; without a body it is a GET."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


KINDS = {
    "3 rows, JSON, split": Kind(
        PATH,
        json.dumps({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}).encode(),
        {"Content-Type": JSON},
    ),
    "3 rows, JSON, records": Kind(
        PATH,
        json.dumps({"dataframe_records": [dict(zip(COLUMNS, ROW))] * 3}).encode(),
        {"Content-Type": JSON},
    ),
    "3 rows, CSV": Kind(
        PATH,
        "\n".join([",".join(COLUMNS), *[",".join(map(str, ROW))] * 3, ""]).encode(),
        {"Content-Type": "text/csv"},
    ),
    "3 rows, V2, JSON": Kind(
        V2_PATH,
        json.dumps(
            {"inputs": [{**each, "data": [v] * 3} for each, v in zip(V2_INPUTS, ROW)]}
        ).encode(),
        {"Content-Type": JSON},
    ),
    "3 rows, V2, binary": Kind(
        V2_PATH,
        V2_HEAD + b"".join(struct.pack("<3d", v, v, v) for v in ROW),
        {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(V2_HEAD)),
        },
    ),
    "/ping": Kind("/ping"),
}
BATCH = f"a batch of {TOGETHER} of 1 row, each"
ONE_ROW = KINDS["3 rows, JSON, split"]._replace(
    body=json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}).encode()
)


class Work(NamedTuple):
    """What one request takes.

    :param own: bytecode instructions of the server's modules, in all processes.
    :param every: those of all modules, as of the standard library, numpy and pandas.
    """

    own: float
    every: float


class Client:
    """One kept connection. A request is sent in one piece: else the server may read it in two."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._host = where.netloc
        self._socket = socket.create_connection(
            (str(where.hostname), int(where.port or 0)), timeout=60
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, kind: Kind) -> None:
        """Send one and read its answer, which has to be 200."""
        method = "POST" if kind.body else "GET"
        lengths = {"Content-Length": str(len(kind.body))} if kind.body else {}
        headers = {"Host": self._host, **lengths, **kind.headers}
        lines = [f"{method} {kind.path} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode() + kind.body)
        answer = http.client.HTTPResponse(self._socket, method=method)
        answer.begin()
        text = answer.read()
        answer.close()
        if answer.status != 200:
            raise AssertionError(f"{kind.path} answers {answer.status} {text[:200]!r}")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def counted(folder: Path, **server: Any) -> Iterator[tuple[str, Callable[[], Work]]]:
    """A server whose instructions are counted; its address, and the counts so far."""
    counts = folder / "counts"
    counts.write_bytes(bytes(counted_server.SIZE))
    # One processor: a worker that has two looks for its next request awake, as often as it can.
    config = write_config(folder / "model", processors=1, **server)
    script = [sys.executable, counted_server.__file__, str(counts), str(ROOT), str(config)]

    def command(listener: int, status: int) -> list[str]:
        return [*script, f"--socket-fd={listener}", f"--status-fd={status}"]

    with serve_locally(command) as (url, _):
        yield url, lambda: Work(*counted_server.counts_in(str(counts)))


def work_of_kinds(folder: Path) -> dict[str, Work]:
    """What a request of each kind takes, one after the other over one connection."""
    found = {}
    with counted(folder) as (url, counts):
        client = Client(url)
        for name, kind in KINDS.items():
            for _ in range(3):
                client.ask(kind)
            before = counts()
            for _ in range(REQUESTS):
                client.ask(kind)
            found[name] = _each(before, counts(), REQUESTS)
        client.close()
    return found


def work_of_a_batch(folder: Path) -> Work:
    """What a request takes of a batch: as many come together as one takes."""
    with counted(folder, max_batch_rows=TOGETHER, batch_wait=5.0) as (url, counts):
        clients = [Client(url) for _ in range(TOGETHER)]
        for place in range(-1, BATCHES):
            threads = [threading.Thread(target=each.ask, args=(ONE_ROW,)) for each in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if place < 0:
                before = counts()
        found = _each(before, counts(), BATCHES * TOGETHER)
        for each in clients:
            each.close()
    return found


def _each(before: Work, after: Work, requests: int) -> Work:
    """What a request takes in the mean, which varies by less than a hundredth.

    A single one's does by more: the server ends with one when the next has been sent, or before.
    """
    return Work((after.own - before.own) / requests, (after.every - before.every) / requests)


def can_trace(folder: Path) -> bool:
    """Whether strace is here and may trace."""
    try:
        tried = subprocess.run([*_tracer(folder), "true"], stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


def system_calls(folder: Path) -> dict[str, float]:
    """The system calls of all processes for a request of each kind, over one connection."""
    trace = folder / "trace"
    config = write_config(folder / "model", processors=1)
    least = {}
    with serving(config, *_tracer(folder)) as (url, process):
        client = Client(url)
        for name, kind in KINDS.items():
            rounds = []
            for _ in range(TRACED_ROUNDS):
                client.ask(kind)
                before = _traced(trace)
                for _ in range(TRACED_REQUESTS):
                    client.ask(kind)
                rounds.append((_traced(trace) - before) / TRACED_REQUESTS)
            # What a neighbour adds it adds by chance; a call too many is there each time.
            least[name] = min(rounds)
        client.close()
        # strace ends with what it traces, and not by the signal that `serving` sends it.
        traced = re.match(r"\d+", trace.read_text())
        assert traced is not None
        subprocess.run(["kill", traced[0]], check=True)
        process.wait(30)
    return least


def _tracer(folder: Path) -> list[str]:
    return ["strace", "-f", "-o", str(folder / "trace")]


def _traced(trace: Path) -> int:
    """The calls so far; those that another process's interrupted have two lines in the trace."""
    return sum(" resumed>" not in line for line in trace.read_text().splitlines())


def measured(folder: Path) -> dict[str, Work]:
    """The work of a request of each kind, and of one in a batch."""
    (folder / "kinds").mkdir()
    (folder / "batch").mkdir()
    found = work_of_kinds(folder / "kinds")
    return {**found, BATCH: work_of_a_batch(folder / "batch")}


def grown(found: dict[str, float], recorded: dict[str, float], what: str) -> list[str]:
    """A sentence for each kind of request that takes more than it may."""
    return [
        f"{name}: {count:.0f} {what}, {count / recorded[name] - 1:+.1%} of the {recorded[name]:.0f} "
        f"that were recorded. If that is wanted: {RECORD}, and say in the commit why."
        for name, count in found.items()
        if count > recorded[name] * BOUND
    ]


def releases() -> dict[str, str]:
    """The releases that the counts of all modules depend on."""
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **libraries}


def baseline() -> dict[str, Any] | None:
    """What was recorded for this Python's minor release, whose compiler the counts depend on."""
    recorded: dict[str, Any] = json.loads(BASELINE.read_text())
    return recorded.get(_minor_release())


def _minor_release() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def main() -> int:
    """Record what a request takes now as what it may take."""
    parser = argparse.ArgumentParser(prog=RECORD, description=(__doc__ or "").split("\n")[0])
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not can_trace(folder):
            print("Error: strace is not here, or may not trace.", file=sys.stderr)
            return 1
        work = measured(folder)
        (folder / "traced").mkdir()
        calls = system_calls(folder / "traced")
    found = {
        "own": {name: each.own for name, each in work.items()},
        "every": {name: each.every for name, each in work.items()},
        "system calls": calls,
    }
    recorded = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    before = recorded.get(_minor_release(), {})
    for what, counts in found.items():
        for name, count in counts.items():
            print(f"{what}, {name}: {count:g} (was {before.get(what, {}).get(name, 'unknown')})")
    recorded[_minor_release()] = {
        "releases": releases(),
        **{what: {name: round(count, 2) for name, count in counts.items()}
           for what, counts in found.items()},
    }  # fmt: skip
    BASELINE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
