"""The samples as a table of goals, a table of peers and a chart."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.registry import LAUNCHER, PEERS
from benchmarks.reporting import curve
from benchmarks.reporting.goals import GOALS, Medians, Sample


def markdown(
    samples: list[Sample], machine: dict[str, Any], versions: dict[str, dict[str, str]]
) -> str:
    """The tables for people."""
    medians = Medians(samples)
    lines = [
        f"Measured {machine['date']} UTC on {machine['processors']} processors "
        f"({machine['system']}), medians of {1 + max(s['repeat'] for s in samples)} alternating "
        "rounds; made by `python -m benchmarks.serving`.",
        "",
        *_machine(machine),
        "",
        "| goal | wanted | measured | reached |",
        "| --- | --- | --- | --- |",
        *(goal.row(medians) for goal in GOALS),
        "",
        *_peers(samples, medians),
        "",
        *_files(samples, medians),
        "",
        *(
            f"- {name}: {', '.join(map(' '.join, found.items()))}"
            for name, found in versions.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _machine(machine: dict[str, Any]) -> list[str]:
    """What of the machine and of the packages counts, a line each."""
    titles = {
        "revision": "revision",
        "processor": "processor",
        "features": "features of the processor",
        "blas": "BLAS and threads, the same for all",
        "python": "Python",
    }
    return [f"- {title}: {machine[name]}" for name, title in titles.items() if name in machine]


def _files(samples: list[Sample], medians: Medians) -> list[str]:
    files = [s for s in samples if s["scenario"] == "file"]
    if not files:
        return []
    rows, size = files[0]["rows"], files[0]["megabytes"]
    heads = [f"{form}: s, MB at most" for form in ("csv", "parquet")]
    lines = [f"`predict` of {rows:,} rows ({size:,.0f} MB as CSV) into CSV:", "", *_heading(heads)]
    for peer in dict.fromkeys(s["peer"] for s in files):
        cells = [peer if peer == LAUNCHER else f"{peer}, a loop by hand"]
        for form in ("csv", "parquet"):
            seconds, peak = (
                medians.find(each, scenario="file", format=form, peer=peer)
                for each in ("seconds", "peak_mb")
            )
            cells.append(f"{seconds:.1f}, {peak:,.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _peers(samples: list[Sample], medians: Medians) -> list[str]:
    loads = [s for s in samples if s["scenario"] == "serving"]
    connections = [c for c in (1, 16, 64) if any(s["connections"] == c for s in loads)]
    head = [f"{c} conn.: req/s, p50, p99, processor ms" for c in connections]
    lines = _heading([*head, "ready s", "server MB", "beside it MB"])
    for peer in dict.fromkeys(s["peer"] for s in loads):
        cells = [PEERS[peer].title]
        for count in connections:
            numbers = ("rate", "p50_ms", "p99_ms", "processor_ms")
            rate, p50, p99, busy = (medians.serving(each, peer, count) for each in numbers)
            cells.append(f"{rate:,.0f}, {p50:.2f}, {p99:.2f}, {busy:.2f}")
        lines.append("| " + " | ".join(cells + _start_cells(medians, peer)) + " |")
    wrong = sum(s["errors"] for s in loads)
    lines += ["", f"Requests that failed: {wrong}."]
    return lines


def _heading(columns: list[str]) -> list[str]:
    return ["| | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]


def _start_cells(medians: Medians, peer: str) -> list[str]:
    columns = (("seconds", 1), ("children_pss_mb", 0), ("parent_pss_mb", 0))
    return [
        f"{medians.find(value, scenario='start', peer=peer):.{digits}f}"
        for value, digits in columns
    ]


def readme_table(samples: list[Sample]) -> str:
    """The table for the README: what its readers choose a server by."""
    medians = Medians(samples)
    lines = _heading(
        [
            "1 connection: req/s, p50 ms",
            "16 connections: req/s, p99 ms",
            "64 connections: req/s, p99 ms",
            "warm start, s",
            "server, MB",
            "beside it, MB",
        ]
    )
    for peer in dict.fromkeys(s["peer"] for s in samples if s["scenario"] == "serving"):
        cells = [PEERS[peer].title]
        for count, value in ((1, "p50_ms"), (16, "p99_ms"), (64, "p99_ms")):
            rate, latency = (medians.serving(each, peer, count) for each in ("rate", value))
            cells.append(f"{rate:,.0f}, {latency:.2f}")
        lines.append("| " + " | ".join(cells + _start_cells(medians, peer)) + " |")
    return "\n".join(lines) + "\n"


def put_between(text: str, begin: str, end: str, table: str) -> str:
    """`text` with `table` between the lines `begin` and `end`.

    :raises ValueError: the text does not have the two lines, in this order.
    """
    before, found, rest = text.partition(begin + "\n")
    _, also_found, after = rest.partition(end + "\n")
    if not found or not also_found:
        raise ValueError(f"the text has no lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{table}\n{end}\n{after}"


def chart(samples: list[Sample]) -> str | None:
    """Median latency against throughput, a line a peer; None where no load was measured."""
    medians = Medians(samples)
    loads = [s for s in samples if s["scenario"] == "serving"]
    series: curve.Series = {}
    for peer in dict.fromkeys(s["peer"] for s in loads):
        counts = sorted({s["connections"] for s in loads if s["peer"] == peer})
        series[PEERS[peer].title] = [
            (medians.serving("rate", peer, c), medians.serving("p50_ms", peer, c)) for c in counts
        ]
    if not series:
        return None
    return curve.draw(
        series, x_title="requests a second", y_title="median latency, ms", emphasized=LAUNCHER
    )
