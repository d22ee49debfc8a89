"""The samples as a table of goals, a table of peers and a chart."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import curve
from benchmarks.peers.registry import LAUNCHER, PEERS

Sample = dict[str, Any]
BATCHING, LITSERVE_BATCHING = "launcher-batching", "litserve-batching"


class Medians:
    """Medians over the repeats, asked for by what the samples say."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def find(self, value: str, **wanted: Any) -> float:
        """The median of `value` over the samples that have all `wanted`; raises `KeyError`."""
        found = [
            sample[value]
            for sample in self._samples
            if value in sample and all(sample.get(name) == want for name, want in wanted.items())
        ]
        if not found:
            raise KeyError(f"{value} of {wanted}")
        return float(statistics.median(found))

    def serving(self, value: str, peer: str, connections: int) -> float:
        """A number of the load scenario."""
        return self.find(value, scenario="serving", peer=peer, connections=connections)


@dataclass(frozen=True)
class Goal:
    """One goal: `measure` gives the number, which must be at most or at least `bound`."""

    title: str
    bound: float
    at_most: bool
    measure: Callable[[Medians], float]
    unit: str = "times"

    def row(self, medians: Medians) -> str:
        try:
            value = self.measure(medians)
        except KeyError:
            return f"| {self.title} | {self._wanted()} | not measured | |"
        reached = value <= self.bound if self.at_most else value >= self.bound
        return f"| {self.title} | {self._wanted()} | {value:.2f} | {'yes' if reached else 'no'} |"

    def _wanted(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g} {self.unit}"


def _rate(ours: str, theirs: str, connections: int) -> Callable[[Medians], float]:
    return lambda m: m.serving("rate", ours, connections) / m.serving("rate", theirs, connections)


def _latency(value: str, connections: int) -> Callable[[Medians], float]:
    return lambda m: (
        m.serving(value, "mlflow", connections) / m.serving(value, LAUNCHER, connections)
    )


def _table(form: str) -> Callable[[Medians], float]:
    def ratio(m: Medians) -> float:
        def cost(peer: str) -> float:
            wanted = {"scenario": "table stages", "peer": peer, "format": form}
            return m.find("parse", **wanted) + m.find("encode", **wanted)

        return cost("scoring server") / cost("pandas")

    return ratio


def _table_mlflow(form: str) -> Callable[[Medians], float]:
    return lambda m: (
        m.find("p50_ms", scenario="table", peer="mlflow", format=form)
        / m.find("p50_ms", scenario="table", peer=LAUNCHER, format=form)
    )


def _start(over: str, under: str) -> Callable[[Medians], float]:
    return lambda m: (
        m.find("seconds", scenario="start", peer=over)
        / m.find("seconds", scenario="start", peer=under)
    )


GOALS = (
    Goal(
        "1 connection, p50, of parse + predict + encode in one process", 1.3, True,
        lambda m: m.find("p50_ms", scenario="floor") / m.find("total", scenario="floor"),
    ),
    Goal("1 connection, p50, faster than MLflow", 3, False, _latency("p50_ms", 1)),
    Goal("16 connections, throughput of MLflow", 4, False, _rate(LAUNCHER, "mlflow", 16)),
    Goal("16 connections, p99 lower than MLflow", 10, False, _latency("p99_ms", 16)),
    Goal("16 connections, throughput of LitServe", 1, False, _rate(LAUNCHER, "litserve", 16)),
    Goal("batching, 16 connections, of MLflow", 10, False, _rate(BATCHING, "mlflow", 16)),
    Goal("batching, 64 connections, of MLflow", 10, False, _rate(BATCHING, "mlflow", 64)),
    Goal(
        "batching, 16 connections, of LitServe batching", 3, False,
        _rate(BATCHING, LITSERVE_BATCHING, 16),
    ),
    Goal(
        "batching, 64 connections, of LitServe batching", 3, False,
        _rate(BATCHING, LITSERVE_BATCHING, 64),
    ),
    Goal(
        "2 workers, throughput of 1, the model being the cost", 1.8, False,
        lambda m: m.find("rate", scenario="workers", workers=2)
        / m.find("rate", scenario="workers", workers=1),
    ),
    *(
        Goal(f"10,000 rows of {form}, parse and encode, of bare libraries", 1.5, True, _table(form)
        )
        for form in ("json", "csv", "parquet")
    ),
    *(
        Goal(f"10,000 rows of {form}, faster than MLflow", 2, False, _table_mlflow(form))
        for form in ("json", "csv")
    ),
    Goal(
        "warm start, of a bare Python that unpickles the model", 1.15, True,
        _start(LAUNCHER, "bare Python, pickle"),
    ),
    Goal(
        "warm start, of a bare Python that loads the model by MLflow", 1.15, True,
        _start(LAUNCHER, "bare Python, mlflow"),
    ),
    Goal("warm start, faster than MLflow", 2, False, _start("mlflow", LAUNCHER)),
    Goal(
        "the launcher itself, until it starts the server", 0.3, True,
        lambda m: m.find("seconds", scenario="launch"), "s",
    ),
    Goal(
        "the launcher itself, resident", 40, True,
        lambda m: m.find("parent_rss_mb", scenario="start", peer=LAUNCHER), "MB",
    ),
    Goal(
        "predict on a large CSV, time of a chunk loop by hand", 1.3, True,
        lambda m: m.find("seconds", scenario="batch", peer=LAUNCHER)
        / m.find("seconds", scenario="batch", peer="chunk loop"),
    ),
    Goal(
        "predict on a large CSV, memory of all processes", 1000, True,
        lambda m: m.find("peak_mb", scenario="batch", peer=LAUNCHER), "MB",
    ),
)  # fmt: skip


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
        "| goal | wanted | measured | reached |",
        "| --- | --- | --- | --- |",
        *(goal.row(medians) for goal in GOALS),
        "",
        *_peers(samples, medians),
        "",
        *(
            f"- {name}: {', '.join(map(' '.join, found.items()))}"
            for name, found in versions.items()
        ),
    ]
    return "\n".join(lines) + "\n"


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
    return curve.draw(series, x_title="requests a second", y_title="median latency, ms")
