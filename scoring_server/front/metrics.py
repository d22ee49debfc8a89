"""Figures on all workers, in Prometheus' text format.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..config import ServerSettings
from ..route_table import Match
from ..routes import WORKER, StageTimes

# Upper bounds in seconds.
BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Histogram:
    """Counts of durations by upper bound, and their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterable[str]:
        """Its samples."""
        comma = "," if labels else ""
        running = 0
        for bound, count in zip((*map(repr, BUCKETS), "+Inf"), self.counts):
            running += count
            yield '{}_bucket{{{}{}le="{}"}} {}'.format(name, labels, comma, bound, running)
        yield "{}_sum{{{}}} {:.9g}".format(name, labels, self.total)
        yield "{}_count{{{}}} {}".format(name, labels, running)


class Figures(NamedTuple):
    """What is not counted but looked up when the figures are asked for.

    :param processes: kind and process id of each.
    :param replaced: how many workers were replaced, by reason.
    :param held: bytes that connections hold.
    :param held_limit: most bytes that they may.
    :param untraced: requests whose spans were dropped; None where none are traced.
    :param lane: how the direct lane stands; None where the model has none.
    :param batching: its state; None where nothing is batched.
    """

    queued: int
    in_workers: int
    workers: int
    load_seconds: float
    processes: Sequence[Tuple[str, int]]
    replaced: Mapping[str, int]
    held: int = 0
    held_limit: int = 0
    untraced: Optional[int] = None
    lane: Optional[str] = None
    batching: Optional[str] = None


class Metrics:
    """Counts requests, and the stages that answering them took; `total` are the predictions."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self.total = 0
        self._requests: Dict[Tuple[str, int], int] = defaultdict(int)
        self._durations: Dict[str, Histogram] = defaultdict(Histogram)
        self._waits = Histogram()
        self._stages: Dict[str, Histogram] = defaultdict(Histogram)

    def observe(self, match: Match, status: int, seconds: float, stages: StageTimes) -> None:
        """Count a request that has been answered.

        :param match: what the table says about it.
        :param status: 499 where its client has gone.
        :param stages: what answering took.
        """
        label, route = match.label, match.route
        self._requests[label, status] += 1
        self.total += route is not None and route.answered_by == WORKER
        self._durations[label].observe(seconds)
        for stage, took, _ in stages:
            self._stages[stage].observe(took)

    def observe_wait(self, seconds: float) -> None:
        """Count how long a request waited for a process."""
        self._waits.observe(seconds)

    def render(self, figures: Figures) -> bytes:
        """All figures, as text."""
        lines: List[str] = []

        def family(name: str, kind: str, text: str, samples: Iterable[str]) -> None:
            lines.append("# HELP {} {}".format(name, text))
            lines.append("# TYPE {} {}".format(name, kind))
            lines.extend(samples)

        def single(name: str, kind: str, text: str, value: Any) -> None:
            family(name, kind, text, ["{} {:.9g}".format(name, value)])

        def durations(name: str, text: str, label: str, found: Dict[str, Histogram]) -> None:
            samples = (
                line
                for value, histogram in sorted(found.items())
                for line in histogram.lines(name, '{}="{}"'.format(label, value))
            )
            family(name, "histogram", text, samples)

        family(
            "launcher_requests_total", "counter",
            "Requests by route and status; 499: the client went away before its answer.",
            (
                'launcher_requests_total{{route="{}",status="{}"}} {}'.format(route, status, count)
                for (route, status), count in sorted(self._requests.items())
            ),
        )  # fmt: skip
        durations(
            "launcher_request_duration_seconds",
            "From the last byte of a request to the last of its answer.", "route", self._durations,
        )  # fmt: skip
        name = "launcher_queue_wait_seconds"
        text = "Time that requests waited for a worker."
        family(name, "histogram", text, self._waits.lines(name, ""))
        durations(
            "launcher_stage_duration_seconds",
            "Time in parsing, predicting and encoding, of each request.", "stage", self._stages,
        )  # fmt: skip
        single("launcher_queue_depth", "gauge", "Requests that wait for a worker.", figures.queued)
        single(
            "launcher_in_flight_requests", "gauge", "Requests that workers have.",
            figures.in_workers,
        )  # fmt: skip
        limit = self._settings.backlog
        single("launcher_queue_limit", "gauge", "The queue's bound (--backlog).", limit)
        single(
            "launcher_held_bytes", "gauge",
            "Bytes that connections hold, from a request's first to the last of its answer.",
            figures.held,
        )  # fmt: skip
        single("launcher_held_bytes_limit", "gauge", "Their bound.", figures.held_limit)
        single("launcher_workers", "gauge", "Workers that have the model.", figures.workers)
        family(
            "launcher_worker_replacements_total", "counter", "Workers replaced, by reason.",
            (
                'launcher_worker_replacements_total{{reason="{}"}} {}'.format(reason, count)
                for reason, count in sorted(figures.replaced.items())
            ),
        )  # fmt: skip
        single(
            "launcher_server_restarts_total", "counter",
            "Restarts of the server process by the launcher.", self._settings.restarts,
        )  # fmt: skip
        single("launcher_reloads_total", "counter", "Reloads of the model.", self._settings.reloads)
        single(
            "launcher_model_load_seconds", "gauge", "Time that loading the model took.",
            figures.load_seconds,
        )  # fmt: skip
        if figures.batching is not None:
            family(
                "launcher_batching", "gauge", "Whether batching is on: 1 for the state it has.",
                (
                    'launcher_batching{{state="{}"}} {:d}'.format(each, each == figures.batching)
                    for each in ("proving", "on", "closed")
                ),
            )  # fmt: skip
        if figures.untraced is not None:
            single(
                "launcher_untraced_requests_total", "counter",
                "Requests whose spans were dropped: the launcher was behind.", figures.untraced,
            )  # fmt: skip
        if figures.lane is not None:
            name = "launcher_direct_lane"
            family(
                name, "gauge", "How the direct lane stands: 1 for the state it has.",
                (
                    '{}{{state="{}"}} {:d}'.format(name, each, each == figures.lane)
                    for each in ("proving", "open", "closed")
                ),
            )  # fmt: skip
        name = "launcher_resident_memory_bytes"
        family(
            name, "gauge", "Resident memory of a process; pages shared by several count in each.",
            (
                '{}{{process="{}",pid="{}"}} {}'.format(name, kind, pid, resident_bytes(pid))
                for kind, pid in figures.processes
            ),
        )  # fmt: skip
        return ("\n".join(lines) + "\n").encode()


def resident_bytes(pid: int) -> int:
    """The process's resident memory; 0 where the system does not tell (Linux's /proc does)."""
    try:
        return int(Path("/proc/{}/statm".format(pid)).read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0
