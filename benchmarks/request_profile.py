"""Where the time of one request goes: ``python -m benchmarks.request_profile [-- FLAGS]``.

The launcher serves the logistic regression of the other benchmarks; three rows are posted over one
connection, and the server says what its stages took (`Server-Timing`). What is left of the time
that the client sees is the front's: it reads the request, hands it to the worker and writes the
answer; with what the sockets take. Beside it, what a few lines in one process take for the same
with a DataFrame and with an array.

Prints the tenth of the requests that took least, as well as the median: on a busy machine only the
former is near what an idle one shows. Uses 127.0.0.1 only; ends by itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from platformdirs import user_cache_path

from benchmarks import bodies
from benchmarks.installing import install, model_for
from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.running import Running, StartError, serve
from benchmarks.scenarios.plan import inside

STAGES = ("queue", "parse", "predict", "encode")
TITLES = {
    "total": "all, as the client sees it",
    "front": "front: read, hand over, write; sockets",
    "queue": "queue: until the worker begins",
    "parse": "parse: JSON, signature, table",
    "predict": "predict",
    "encode": "encode",
}
WARM_UP_REQUESTS = 300


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.request_profile", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument(
        "--cache", type=Path, default=user_cache_path("mlmodel-launcher") / "benchmarks"
    )
    parser.add_argument(
        "flags",
        nargs="*",
        help="further words of `launcher serve`, after --: `-- --direct-lane off`",
    )
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    known = PEERS[LAUNCHER]
    peer = dataclasses.replace(known, command=lambda setup: [*known.command(setup), *options.flags])
    python, model = install(peer, options.cache), model_for(peer, "logistic", options.cache)
    body = options.cache / "three.json"
    body.write_bytes(bodies.three_rows())
    try:
        with serve(peer, python, model, options.cache) as running:
            times = stages_of(running, body.read_bytes(), options.requests)
            spent = processor_times(running, body.read_bytes(), options.requests)
    except StartError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("| | fastest tenth, ms | median, ms |\n| --- | --- | --- |")
    for name, title in TITLES.items():
        tenth = statistics.quantiles(times[name], n=10)[0]
        print(f"| {title} | {tenth:.3f} | {statistics.median(times[name]):.3f} |")
    print("\n| processor time of a request | ms |\n| --- | --- |")
    for name, milliseconds in spent.items():
        print(f"| {name} | {milliseconds:.3f} |")
    print("\n| a few lines in one process, ms | JSON | table | predict | encode | all |")
    print("| --- |" + " --- |" * 5)
    for way in ("dataframe", "array"):
        found = inside(python, "one_request", str(model), str(body), str(options.requests), way)
        stages = ("json", "table", "predict", "encode", "total")
        cells = " | ".join(f"{found[each]:.3f}" for each in stages)
        print(f"| {way} | {cells} |")
    return 0


def stages_of(running: Running, body: bytes, count: int) -> dict[str, list[float]]:
    """The milliseconds of each stage of each request, and of all of it."""
    connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=60)
    headers = {"Content-Type": "application/json", "Want-Server-Timing": "1"}
    times = defaultdict(list)
    for number in range(-WARM_UP_REQUESTS, count):
        began = time.perf_counter()
        connection.request("POST", "/invocations", body, headers)
        answer = connection.getresponse()
        answer.read()
        total = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise StartError(f"the server answers {answer.status}")
        if number < 0:
            continue
        said = dict(
            part.split(";dur=") for part in (answer.getheader("Server-Timing") or "").split(", ")
        )
        stages = {name: float(said.get(name, 0)) for name in STAGES}
        times["total"].append(total)
        times["front"].append(total - sum(stages.values()))
        for name, took in stages.items():
            times[name].append(took)
    connection.close()
    return times


def processor_times(running: Running, body: bytes, count: int) -> dict[str, float]:
    """The milliseconds of processor time that each process takes for a request."""
    family = running.process.children(recursive=True)
    before = [_seconds(each) for each in family]
    stages_of(running, body, count)
    requests = count + WARM_UP_REQUESTS
    names = {0: "front"}
    return {
        names.get(place, f"worker, or pages ({place})"): (_seconds(each) - start) * 1e3 / requests
        for place, (each, start) in enumerate(zip(family, before, strict=True))
    }


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
