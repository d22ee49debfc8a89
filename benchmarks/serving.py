"""Measure everything: ``python -m benchmarks.serving [--quick]``, from the project's folder.

Installs the peers into environments of their own (once), measures all of them in turn several
times over, checks that they answer the same, and writes `results/serving.md`, `.json` and `.svg`.
Needs wrk; uses 127.0.0.1 only; ends by itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.load import LoadError
from benchmarks.peers.registry import PEERS
from benchmarks.reporting import report
from benchmarks.reporting.machine import machine, releases
from benchmarks.running import StartError
from benchmarks.scenarios import large_tables, three_rows
from benchmarks.scenarios.plan import Plan, Sample, WrongAnswerError

RESULTS = Path(__file__).with_name("results")
README_MARKS = ("<!-- speed: begin -->", "<!-- speed: end -->")
SCENARIOS: dict[str, Callable[[Plan], Iterator[Sample]]] = {
    "turns": three_rows.turns,
    "trees": three_rows.trees,
    "serving": three_rows.serving,
    "starts": large_tables.starts,
    "tables": large_tables.tables,
    "workers": three_rows.workers,
    "memory": three_rows.memory,
    "front": three_rows.front,
    "files": large_tables.files,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; returns the exit code."""
    options = _parse(arguments)
    # Told to end, it ends what it has started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = Plan(
        cache=options.cache,
        peers=tuple(options.peers),
        connections=(1, 16, 64) if options.quick else (1, 2, 4, 8, 16, 32, 64),
        seconds=2 if options.quick else 3,
        repeats=options.repeats or (1 if options.quick else 3),
        csv_megabytes=options.csv_megabytes or (40 if options.quick else 300),
    )
    # What would go wrong at the end is said now, and not after the measurements.
    if importlib.util.find_spec("matplotlib") is None:
        print("Error: matplotlib draws the picture. Install the extra `dev`.", file=sys.stderr)
        return 1
    if options.readme is not None:
        report.put_between(options.readme.read_text(), *README_MARKS, "")
    plan.cache.mkdir(parents=True, exist_ok=True)
    # All is installed before anything is measured.
    where, found = machine(plan), releases(plan)
    options.results.mkdir(parents=True, exist_ok=True)
    samples: list[Sample] = []
    failed = False
    for repeat in range(plan.repeats):
        for name in options.scenarios:
            try:
                for sample in SCENARIOS[name](plan):
                    samples.append({"repeat": repeat, **sample})
                    print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
            except (LoadError, StartError, WrongAnswerError) as error:
                # The rest is measured all the same: what is missing is said to be.
                print(f"Error: {name}: {error}", file=sys.stderr, flush=True)
                failed = True
            record = {"machine": where, "versions": found, "samples": samples}
            (options.results / "serving.json").write_text(json.dumps(record, indent=1) + "\n")
    if not samples:
        return 1
    text = report.markdown(samples, where, found)
    (options.results / "serving.md").write_text(text)
    chart = report.chart(samples)
    if chart:
        (options.results / "latency.svg").write_text(chart)
    print(text)
    if failed:
        return 1
    if options.readme is not None:
        table = report.readme_table(samples)
        readme = report.put_between(options.readme.read_text(), *README_MARKS, table)
        options.readme.write_text(readme)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--repeats", type=int, help="rounds  [default: 3, quick: 1]")
    parser.add_argument("--csv-megabytes", type=float, help="[default: 300, quick: 40]")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        default=[name for name, peer in PEERS.items() if peer.is_default],
    )
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder for the results")
    parser.add_argument("--readme", type=Path, help="a file whose table of peers is renewed")
    parser.add_argument(
        "--cache",
        type=Path,
        default=user_cache_path("mlmodel-launcher") / "benchmarks",
        help="a folder for environments and models",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
