"""What the launcher is told of requests, and who decides which traces are sampled."""

import asyncio
import json
import os
import sys

import pytest

from scoring_server.config import ServerConfig, TraceSettings
from scoring_server.tracing.joining import joined
from scoring_server.tracing.records import LONGEST, RequestRecord, decode, encode
from scoring_server.tracing.tracer import Tracer

RECORD = RequestRecord(
    "1" * 32, "2" * 16, "", "vendor=1", "POST", "/invocations", "/invocations", 200, 5, 9,
    [("queue", 5, 6)], "id", "127.0.0.1", "1.1", 12, "iris", "3",
    "models:/iris/3", "localhost:5000",
)  # fmt: skip
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_record_is_a_line_of_bounded_length():
    line = encode(RECORD)
    assert line.endswith(b"\n")
    assert decode(line) == RECORD
    # Characters that JSON escapes take six bytes each.
    long = encode(RECORD._replace(path="\x01" * 500, state="s" * 512, request_id="i" * 128))
    assert len(long) <= LONGEST
    assert decode(long).trace_id == RECORD.trace_id


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b"[" * 5000, b"\xff", json.dumps(list(RECORD)[:-1]).encode(),
        json.dumps(RECORD._replace(start="5")).encode(),
        json.dumps(RECORD._replace(stages=[["queue", 5]])).encode(),
        json.dumps(RECORD._replace(stages=[5])).encode(),
    ],
)  # fmt: skip
def test_what_is_no_record_is_told_from_one(line):
    with pytest.raises(ValueError):  # noqa: PT011 - of several texts
        decode(line)


def tracer(**settings):
    settings = TraceSettings(-1, **settings)
    return Tracer(
        asyncio.new_event_loop(), settings, ServerConfig.from_dict({"model": {"path": "x"}})
    )


def header(flags="01", version="00", more=""):
    return {"traceparent": "-".join([version, TRACE, PARENT, flags]) + more}


@pytest.mark.parametrize(
    ("settings", "headers", "is_sampled"),
    [
        ({}, {}, True),
        ({}, header("01"), True),
        ({}, header("00"), False),
        ({}, header("03"), True),
        ({"ratio": 0.0}, {}, False),
        ({"ratio": 0.0}, header("01"), True),
        ({"ratio": 0.0, "follows_parent": False}, header("01"), False),
        ({"ratio": 1.0, "follows_parent": False}, header("00"), True),
    ],
)
def test_who_decides_on_sampling(settings, headers, is_sampled):
    assert tracer(**settings).begin(headers).is_sampled is is_sampled


@pytest.mark.parametrize(
    ("headers", "joins"),
    [
        (header(), True),
        (header(version="cc", more="-of-a-later-version"), True),
        (header(more="-too-much"), False),
        (header(version="ff"), False),
        ({"traceparent": "00-{}-{}-01".format("0" * 32, PARENT)}, False),
        ({"traceparent": "00-{}-{}-01".format(TRACE, "0" * 16)}, False),
        ({"traceparent": header()["traceparent"].upper()}, False),
    ],
)
def test_a_parent_as_the_standard_has_it(headers, joins):
    trace = tracer().begin(headers)
    assert (trace.trace_id == TRACE) is joins
    assert trace.parent_id == (PARENT if joins else "")
    below = trace.below({"a": "b", **headers})
    assert below["a"] == "b"
    assert below["traceparent"] == f"00-{trace.trace_id}-{trace.span_id}-01"


def test_a_ratio_of_traces_is_sampled():
    some = tracer(ratio=0.25)
    sampled = sum(some.begin({}).is_sampled for _ in range(4000))
    assert 800 < sampled < 1200


def test_the_spans_of_a_model_with_opentelemetry_are_below_the_request_s(monkeypatch):
    trace = pytest.importorskip("opentelemetry.trace", reason="pip install opentelemetry-api")
    with joined(tracer().begin(header()).below({})):
        inner = trace.get_current_span().get_span_context()
        assert f"{inner.trace_id:032x}" == TRACE
        assert inner.is_remote
    assert not trace.get_current_span().get_span_context().is_valid
    # Nothing is imported for it where the model has not done so.
    for name in list(sys.modules):
        if name.startswith("opentelemetry"):
            monkeypatch.delitem(sys.modules, name)
    with joined(header()):
        assert not any(name.startswith("opentelemetry") for name in sys.modules)


def test_what_the_launcher_does_not_read_is_dropped_and_counted():
    read, write = os.pipe()
    try:
        os.set_blocking(write, False)
        settings = TraceSettings(write)
        full = Tracer(asyncio.new_event_loop(), settings, ServerConfig())
        full._lines = [encode(RECORD)] * 2000  # more than a pipe takes
        full.flush()
        told = os.read(read, 1 << 20).splitlines()
        assert all(decode(line) == RECORD for line in told)
        assert full.dropped == 2000 - len(told) > 0
    finally:
        os.close(read)
        os.close(write)
