"""The Open Inference Protocol beside `/invocations`, and beside MLServer.

Usage::

    python -m benchmarks.open_inference [--rounds 5] [--seconds 1]

The launcher and MLServer serve the same model with the same releases, and are asked in turn: 3 rows
over 1 and 16 connections, 10,000 rows over 1. Before that, their answers are compared. Prints a
table of medians. Needs wrk; uses 127.0.0.1 only; ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from platformdirs import user_cache_path

from benchmarks import bodies
from benchmarks.installing import install, install_launcher, model_for
from benchmarks.load import LoadError, post
from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.running import Running, StartError, serve

JSON, BINARY = "application/json", "application/octet-stream"
# Rows of a request, and connections.
PARTS = ((3, 1), (3, 16), (10_000, 1))
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Way:
    """One way to ask a server.

    :param sent: a file with the body, by the number of its rows; the same for `headers`.
    """

    title: str
    running: Running
    path: str
    content_type: str
    sent: dict[int, Path]
    headers: Mapping[int, tuple[str, ...]]

    def answer(self, rows: int) -> list[str]:
        """What the model says to the rows.

        :raises requests.RequestException: there is no answer.
        """
        headers = dict(each.split(": ") for each in self.headers[rows])
        answer = requests.post(
            self.running.url + self.path,
            data=self.sent[rows].read_bytes(),
            headers={"Content-Type": self.content_type, **headers},
            timeout=60,
        )
        answer.raise_for_status()
        document = answer.json()
        found: list[str] = document.get("predictions") or document["outputs"][0]["data"]
        return found


@dataclass(frozen=True)
class Sample:
    """One turn: requests a second, milliseconds of the median request and of the processors."""

    rate: float
    p50_ms: float
    processor_ms: float


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.open_inference", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument(
        "--cache", type=Path, default=user_cache_path("mlmodel-launcher") / "benchmarks"
    )
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            ways = start(options.cache, stack)
            print(table(measure(ways, options.rounds, options.seconds)))
    except (LoadError, StartError, ValueError, requests.RequestException) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def start(cache: Path, stack: contextlib.ExitStack) -> list[Way]:
    """Start both servers; the ways to ask them, which give the same answers.

    :raises ValueError: they do not.
    """
    launcher, mlserver = PEERS[LAUNCHER], PEERS["mlserver"]
    model = model_for(mlserver, "logistic", cache)
    install_launcher(model, cache)
    ours = stack.enter_context(serve(launcher, Path(sys.executable), model, cache))
    theirs = stack.enter_context(serve(mlserver, install(mlserver, cache), model, cache))
    frames = {rows: bodies.many_rows(rows) for rows, _ in PARTS}
    split = {rows: bodies.as_json(frame) for rows, frame in frames.items()}
    v2 = {rows: bodies.as_v2(frame) for rows, frame in frames.items()}
    binary = {rows: bodies.as_v2_binary(frame) for rows, frame in frames.items()}
    none = dict.fromkeys(frames, ())
    lengths = {
        rows: (f"Inference-Header-Content-Length: {size}",) for rows, (_, size) in binary.items()
    }
    texts = {rows: body for rows, (body, _) in binary.items()}
    path = f"/v2/models/{model.name}/infer"
    ways = [
        Way("`/invocations`", ours, "/invocations", JSON, written(split, cache, "split"), none),
        Way("V2, JSON", ours, path, JSON, written(v2, cache, "v2"), none),
        Way("V2, binary", ours, path, BINARY, written(texts, cache, "binary"), lengths),
        Way(
            "MLServer, V2, JSON", theirs, "/v2/models/iris/infer", JSON,
            written(v2, cache, "v2"), none,
        ),
    ]  # fmt: skip
    for rows in frames:
        wanted = ways[0].answer(rows)
        for way in ways[1:]:
            if way.answer(rows) != wanted:
                raise ValueError(f"{way.title} answers otherwise than {ways[0].title}")
    return ways


def written(contents: dict[int, bytes], folder: Path, name: str) -> dict[int, Path]:
    """Write bodies to files; the files."""
    paths = {rows: folder / f"{name}-{rows}" for rows in contents}
    for rows, path in paths.items():
        path.write_bytes(contents[rows])
    return paths


def measure(ways: list[Way], rounds: int, seconds: float) -> dict[tuple[str, int, int], Sample]:
    """The medians of each way and part, by title, rows and connections; all take turns."""
    samples: dict[tuple[str, int, int], list[Sample]] = {}
    for number in range(-1, rounds):
        for rows, connections in PARTS:
            # The order changes, so that no way always follows the same other.
            for way in ways if number % 2 else ways[::-1]:
                sample = turn(way, rows, connections, WARM_UP_SECONDS if number < 0 else seconds)
                if number >= 0:
                    samples.setdefault((way.title, rows, connections), []).append(sample)
    medians = {}
    for way in ways:
        for rows, connections in PARTS:
            found = samples[way.title, rows, connections]
            medians[way.title, rows, connections] = Sample(
                statistics.median(each.rate for each in found),
                statistics.median(each.p50_ms for each in found),
                statistics.median(each.processor_ms for each in found),
            )
    return medians


def turn(way: Way, rows: int, connections: int, seconds: float) -> Sample:
    """Ask for some seconds; raises `LoadError` where an answer is not 200."""
    before = way.running.processor_seconds()
    load = post(
        way.running.url + way.path, way.sent[rows], way.content_type, connections, seconds,
        *way.headers[rows],
    )  # fmt: skip
    if load.errors:
        raise LoadError(f"{load.errors} of {load.requests} requests of {way.title} failed")
    busy = (way.running.processor_seconds() - before) * 1e3 / load.requests
    return Sample(load.rate, load.p50_ms, busy)


def table(medians: dict[tuple[str, int, int], Sample]) -> str:
    """A table with a line for each way: requests a second, p50 and processor time in ms."""
    heads = [f"{rows:,} rows, {count} conn.: req/s, p50, processor ms" for rows, count in PARTS]
    lines = ["| | " + " | ".join(heads) + " |", "| --- " * (len(PARTS) + 1) + "|"]
    for title in dict.fromkeys(title for title, _, _ in medians):
        found = [medians[title, rows, count] for rows, count in PARTS]
        cells = [f"{each.rate:,.0f}, {each.p50_ms:.2f}, {each.processor_ms:.2f}" for each in found]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
