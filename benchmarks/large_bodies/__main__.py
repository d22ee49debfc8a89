"""``python -m benchmarks.large_bodies``: large bodies beside the libraries that parse them.

Each body of 10,000 rows is read by the server's own path (`Scorer.read`: parsed, the signature
applied) and by the parsing library alone, in turn, in one process, and then sent over HTTP.
``--memory`` sends a million rows in each format to a server of their own and tells how far front
and worker grew. It needs pyarrow and orjson.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from benchmarks.large_bodies.memory import memory, serving
from benchmarks.large_bodies.tables import bodies, mixed, numbers, write_config

ROWS, MANY_ROWS = 10_000, 1_000_000
PAIRS = 31
WARM_UP = 3


def reading(frame: pd.DataFrame, folder: Path, pairs: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of processor time of reading each body, beside its library, in turn."""
    from scoring_server.config import ServerConfig
    from scoring_server.model.loading import load_model
    from scoring_server.protocols.registry import route_groups
    from scoring_server.route_table import RouteTable
    from scoring_server.routes import Request
    from scoring_server.scoring.scorer import Scorer

    config = ServerConfig.read(str(write_config(folder, frame)))
    scorer = Scorer(config, load_model(config))
    table = RouteTable(route_groups(config))
    for body in bodies(frame):
        match = table.find("POST", body.path)
        assert match.route is not None
        request = Request(
            match.group, match.route, "POST", body.path, match.params, "", body.headers, body.data
        )
        read = scorer.read(request).data
        values = read.frame() if hasattr(read, "frame") else read
        pd.testing.assert_frame_equal(values, frame, check_dtype=False)
        ours: list[float] = []
        alone: list[float] = []
        for turn in range(WARM_UP + pairs):
            for times, work in (
                (ours, lambda request=request: scorer.read(request)),
                (alone, lambda body=body: body.alone(body.data)),
            ):
                began = time.process_time()
                work()
                if turn >= WARM_UP:
                    times.append((time.process_time() - began) * 1e3)
        yield {
            "format": body.name,
            "bytes": len(body.data),
            "ours_ms": statistics.median(ours),
            "alone_ms": statistics.median(alone),
            "ratio": statistics.median(mine / its for mine, its in zip(ours, alone, strict=True)),
        }


def over_http(frame: pd.DataFrame, folder: Path, requests_each: int) -> Iterator[dict[str, Any]]:
    """Milliseconds that a client waits for the answer to each body, at the median."""
    with serving(write_config(folder, frame)) as (url, _), requests.Session() as session:
        for body in bodies(frame):
            waited = []
            for _ in range(requests_each):
                began = time.perf_counter()
                answer = session.post(url + body.path, body.data, headers=body.headers, timeout=60)
                waited.append((time.perf_counter() - began) * 1e3)
                answer.raise_for_status()
            yield {"format": body.name, "p50_ms": statistics.median(waited)}


def show(title: str, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print measurements as a table, as they come."""
    print(f"\n{title}\n", flush=True)
    listed: list[dict[str, Any]] = []
    for row in rows:
        if not listed:
            print("| " + " | ".join(row) + " |\n" + "| --- " * len(row) + "|")
        cells = [f"{each:.2f}" if isinstance(each, float) else str(each) for each in row.values()]
        print("| " + " | ".join(cells) + " |", flush=True)
        listed.append(row)
    return listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--memory", action="store_true", help="a million rows, and nothing else")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of readings of each body")
    parser.add_argument("--rows", type=int, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.memory:
            rows = options.rows or MANY_ROWS
            show(f"{rows} rows: bytes that were grown by", memory(rows, folder))
            return
        rows = options.rows or ROWS
        for title, frame in (
            ("4 doubles", numbers(rows)),
            ("10 doubles", numbers(rows, 10)),
            ("mixed", mixed(rows)),
        ):
            at = folder / title.replace(" ", "_")
            show(f"{rows} rows, {title}: reading", reading(frame, at / "read", options.pairs))
            show(f"{rows} rows, {title}: HTTP", over_http(frame, at / "http", options.pairs))


if __name__ == "__main__":
    main()
