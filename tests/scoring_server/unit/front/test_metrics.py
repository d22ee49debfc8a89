"""The figures, read by Prometheus' own parser."""

from __future__ import annotations

import os

import pytest
from prometheus_client import parser

from scoring_server.config import ServerConfig
from scoring_server.front.metrics import BUCKETS, Figures, Metrics
from scoring_server.protocols.registry import route_groups
from scoring_server.route_table import RouteTable


def test_what_was_counted_is_what_is_read():
    metrics = Metrics(ServerConfig().server)
    table = RouteTable(route_groups(ServerConfig()))
    stages = [("parse", 0.002, 0.0), ("predict", 0.5, 0.002)]
    for seconds in (0.0001, 0.3, 100.0):
        metrics.observe(table.find("POST", "/invocations"), 200, seconds, stages)
    metrics.observe(table.find("GET", '/a"\\\nb'), 404, 0.001, ())
    metrics.observe_wait(0.2)
    figures = Figures(3, 2, 1, 1.5, [("server", os.getpid())], {"timeout": 4})
    text = metrics.render(figures).decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    route = ("route", "/invocations")
    assert samples["launcher_requests_total", (route, ("status", "200"))] == 3
    # A path that nobody knows is no label.
    assert samples["launcher_requests_total", (("route", "other"), ("status", "404"))] == 1
    name = "launcher_request_duration_seconds"
    counts = [samples[name + "_bucket", (("le", repr(bound)), route)] for bound in BUCKETS]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 2
    assert samples[name + "_bucket", (("le", "+Inf"), route)] == 3
    assert samples[name + "_sum", (route,)] == pytest.approx(100.3001)
    predict = (("stage", "predict"),)
    assert samples["launcher_stage_duration_seconds_sum", predict] == pytest.approx(1.5)
    assert samples["launcher_queue_depth", ()] == 3
    assert samples["launcher_worker_replacements_total", (("reason", "timeout"),)] == 4
    assert (
        samples[
            "launcher_resident_memory_bytes", (("pid", str(os.getpid())), ("process", "server"))
        ]
        > 0
    )
    assert metrics.total == 3
