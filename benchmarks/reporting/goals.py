"""The goals: what is wanted, and what was measured of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.registry import BATCHING_PEER, LAUNCHER

Sample = dict[str, Any]
LITSERVE_BATCHING = "litserve-batching"


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

    def paired(
        self, over: tuple[str, dict[str, Any]], under: tuple[str, dict[str, Any]], **both: Any
    ) -> float:
        """The median of the ratios of two numbers that were measured in the same turn.

        :param over: the number's name, and what its samples say; `under` likewise.
        :param both: what the samples of both say.
        :raises KeyError: there is no such turn.
        """
        one, other = (self._by_turn(value, {**both, **wanted}) for value, wanted in (over, under))
        ratios = [one[turn] / other[turn] for turn in one.keys() & other.keys()]
        if not ratios:
            raise KeyError(f"{over} and {under} of {both}")
        return float(statistics.median(ratios))

    def _by_turn(self, value: str, wanted: dict[str, Any]) -> dict[tuple[int, int], float]:
        return {
            (sample["repeat"], sample["turn"]): sample[value]
            for sample in self._samples
            if value in sample and all(sample.get(name) == want for name, want in wanted.items())
        }

    def serving(self, value: str, peer: str, connections: int) -> float:
        """A number of the load scenario."""
        return self.find(value, scenario="serving", peer=peer, connections=connections)


@dataclass(frozen=True)
class Goal:
    """One goal: `measure` gives the number, which must be at most or at least `bound`.

    :param bound: or what gives it, where it is measured; None for a number that is told only.
    """

    title: str
    bound: float | Callable[[Medians], float] | None
    at_most: bool
    measure: Callable[[Medians], float]
    unit: str = "times"

    def row(self, medians: Medians) -> str:
        """The line of the table."""
        try:
            bound = self.bound(medians) if callable(self.bound) else self.bound
            value = self.measure(medians)
        except KeyError:
            bound = None if callable(self.bound) else self.bound
            return f"| {self.title} | {self._wanted(bound)} | not measured | |"
        if bound is None:
            return f"| {self.title} | {self._wanted(bound)} | {value:,.2f} | |"
        reached = value <= bound if self.at_most else value >= bound
        answer = "yes" if reached else "no"
        return f"| {self.title} | {self._wanted(bound)} | {value:,.2f} | {answer} |"

    def _wanted(self, bound: float | None) -> str:
        if bound is None:
            return "" if self.bound is None else "see title"
        return f"{'at most' if self.at_most else 'at least'} {bound:,g} {self.unit}"


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


def _of_one_process(way: str) -> Callable[[Medians], float]:
    return lambda m: m.paired(
        ("p50_ms", {"peer": LAUNCHER, "connections": 1}),
        ("total", {"peer": f"one process, {way}"}),
        scenario="turns",
    )


def _in_turns(value: str, over: str, under: str, connections: int) -> Callable[[Medians], float]:
    return lambda m: m.paired(
        (value, {"peer": over}), (value, {"peer": under}), scenario="turns", connections=connections
    )


def _trees(kind: str) -> Callable[[Medians], float]:
    return lambda m: m.paired(
        ("p50_ms", {"peer": "mlflow"}), ("p50_ms", {"peer": LAUNCHER}), scenario=kind
    )


def _front(server: str) -> Callable[[Medians], float]:
    return lambda m: m.find("rate", scenario="front", peer=server, path="/invocations")


def _further_worker(m: Medians) -> float:
    def total(workers: int) -> float:
        return m.find("pss_mb", scenario="memory", workers=workers)

    return (total(3) - total(1)) / 2


def _file(value: str, form: str, other: str) -> Callable[[Medians], float]:
    return lambda m: (
        m.find(value, scenario="file", format=form, peer=LAUNCHER)
        / m.find(value, scenario="file", format=form, peer=other)
    )


DATAFRAME, ARRAY = "fastapi-dataframe", "fastapi-array"
# Those of issue 16, in its order.
LANE_GOALS = (
    Goal(
        "1 connection, p50, of parse + DataFrame + predict + encode in one process", 0.6, True,
        _of_one_process("dataframe"),
    ),
    Goal("the same with an array in place of the DataFrame", None, True, _of_one_process("array")),
    Goal(
        "1 connection, p50, of FastAPI by hand with a DataFrame", 0.5, True,
        _in_turns("p50_ms", LAUNCHER, DATAFRAME, 1),
    ),
    Goal(
        "1 connection, p50, of FastAPI by hand with an array", 1, True,
        _in_turns("p50_ms", LAUNCHER, ARRAY, 1),
    ),
    Goal(
        "16 connections, throughput of FastAPI by hand with a DataFrame", 2.5, False,
        _in_turns("rate", LAUNCHER, DATAFRAME, 16),
    ),
    Goal(
        "batching, 16 connections, throughput of FastAPI by hand with a DataFrame", 10, False,
        _in_turns("rate", BATCHING_PEER, DATAFRAME, 16),
    ),
    Goal(
        "16 connections, throughput of FastAPI by hand with an array", None, False,
        _in_turns("rate", LAUNCHER, ARRAY, 16),
    ),
    Goal(
        "batching, 16 connections, throughput of FastAPI by hand with an array", None, False,
        _in_turns("rate", BATCHING_PEER, ARRAY, 16),
    ),
    Goal(
        "1 connection, p50, faster than MLflow", 10, False,
        _in_turns("p50_ms", "mlflow", LAUNCHER, 1),
    ),
    Goal("XGBoost, 100 trees, p50, faster than MLflow", 10, False, _trees("xgboost")),
    Goal("LightGBM, 100 trees, p50, faster than MLflow", 10, False, _trees("lightgbm")),
    Goal(
        "the front alone, on one processor (20,000, or what asyncio with httptools does)",
        lambda m: min(20_000, _front("asyncio-hop")(m)), False, _front("front"),
        "requests a second",
    ),
    Goal("memory of a further worker", 15, True, _further_worker, "MB"),
)  # fmt: skip
GOALS = (
    *LANE_GOALS,
    Goal("16 connections, throughput of MLflow", 4, False, _rate(LAUNCHER, "mlflow", 16)),
    Goal("16 connections, p99 lower than MLflow", 10, False, _latency("p99_ms", 16)),
    Goal("16 connections, throughput of LitServe", 1, False, _rate(LAUNCHER, "litserve", 16)),
    Goal("batching, 16 connections, of MLflow", 10, False, _rate(BATCHING_PEER, "mlflow", 16)),
    Goal("batching, 64 connections, of MLflow", 10, False, _rate(BATCHING_PEER, "mlflow", 64)),
    Goal(
        "batching, 16 connections, of LitServe batching", 3, False,
        _rate(BATCHING_PEER, LITSERVE_BATCHING, 16),
    ),
    Goal(
        "batching, 64 connections, of LitServe batching", 3, False,
        _rate(BATCHING_PEER, LITSERVE_BATCHING, 64),
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
        "predict on a large CSV, time of a pandas loop by hand", 1.3, True,
        _file("seconds", "csv", "pandas"),
    ),
    *(
        Goal(f"predict on a large {form} file, {what} of a {other} loop", None, True,
             _file(value, form, other))
        for form in ("csv", "parquet")
        for what, value in (("time", "seconds"), ("memory", "peak_mb"))
        for other in ("DuckDB", "Polars")
    ),
    Goal(
        "predict on a large CSV, memory of all processes", 1000, True,
        lambda m: m.find("peak_mb", scenario="file", format="csv", peer=LAUNCHER), "MB",
    ),
)  # fmt: skip
