"""What `--max-batch-rows auto` brings: ``python -m benchmarks.batching``, from the project.

The launcher serves one model without batching, with `--max-batch-rows 64`, and with `auto`; wrk
asks them in turn, several times, over 1, 16 and 64 connections. Printed are medians, and those of
the ratios to what was measured without batching in the same turn. `auto` has proved itself before
that; how long that took is printed too. Needs wrk; uses 127.0.0.1 only; ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import statistics
import sys
import time
from pathlib import Path

import requests
from platformdirs import user_cache_path

from benchmarks import bodies
from benchmarks.installing import ROOT, install_launcher
from benchmarks.load import post
from benchmarks.peers import Peer, Setup
from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.running import Running, serve

WAYS = {
    "none": (),
    "64": ("--max-batch-rows", "64"),
    "auto": ("--max-batch-rows", "auto"),
}
CONNECTIONS = (1, 16, 64)
MOST_SECONDS = 60


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "fixtures" / "iris")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=0.0, help="of `auto`")
    parser.add_argument(
        "--cache", type=Path, default=user_cache_path("mlmodel-launcher") / "benchmarks"
    )
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    body = options.cache / "three.json"
    body.write_bytes(bodies.three_rows())
    python = install_launcher(options.model, options.cache)
    with contextlib.ExitStack() as running:
        served = {
            name: running.enter_context(
                serve(_peer(name, options.tolerance), python, options.model, options.cache)
            )
            for name in WAYS
        }
        print(f"auto: {prove(served['auto'], body)}")
        compare(served, body, options.seconds, options.repeats)
    return 0


def prove(server: Running, body: Path) -> str:
    """Ask until batching is no longer proving itself; the state, and how long that took."""
    began = time.perf_counter()
    while time.perf_counter() < began + MOST_SECONDS:
        post(f"{server.url}/invocations", body, "application/json", 16, 1)
        state = _state(server)
        if state != "proving":
            break
    took = time.perf_counter() - began
    # Larger ones prove themselves beside answers by smaller ones.
    post(f"{server.url}/invocations", body, "application/json", 64, 5)
    return f"{state} within {took:.0f} s"


def _state(server: Running) -> str:
    text = requests.get(f"{server.url}/metrics", timeout=10).text
    (found,) = re.findall(r'launcher_batching{state="(\w+)"} 1', text)
    return str(found)


def compare(served: dict[str, Running], body: Path, seconds: float, repeats: int) -> None:
    """Print rates, latencies and processor time, and their ratios to those without batching."""
    for connections in CONNECTIONS:
        found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in served}
        for _ in range(repeats):
            for name, server in served.items():
                before = server.processor_seconds()
                load = post(
                    f"{server.url}/invocations", body, "application/json", connections, seconds
                )
                busy = (server.processor_seconds() - before) * 1e3 / load.requests
                if load.errors:
                    print(f"{name}: {load.errors} errors", file=sys.stderr)
                found[name].append((load.rate, load.p50_ms, load.p99_ms, busy))
        for name, turns in found.items():
            columns = zip(*turns, strict=True)
            rate, p50, p99, busy = (statistics.median(column) for column in columns)
            ratios = [
                statistics.median(
                    own[at] / base[at] for own, base in zip(turns, found["none"], strict=True)
                )
                for at in range(4)
            ]
            print(
                f"{connections:3} conn. {name:5} {rate:6.0f} req/s  p50 {p50:6.2f}  p99 {p99:6.2f}"
                f"  processor ms {busy:5.2f}   of none: "
                + " ".join(f"{ratio:5.2f}" for ratio in ratios)
            )


def _peer(name: str, tolerance: float) -> Peer:
    plain = PEERS[LAUNCHER]
    flags = [*WAYS[name]]
    if name == "auto" and tolerance:
        flags += ["--batch-tolerance", str(tolerance)]

    def command(setup: Setup) -> list[str]:
        return [*plain.command(setup), *flags]

    return dataclasses.replace(plain, name=f"launcher-batching-{name}", command=command)


if __name__ == "__main__":
    sys.exit(main())
