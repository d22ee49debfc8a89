"""The benchmarks' own parts: the load they make, and what they make of samples."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.reporting import report

SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {"date": "2026-01-01 00:00", "processors": 2, "system": "Linux x86_64"}


def sample(peer: str, connections: int, rate: float, p50: float, repeat: int = 0) -> dict:
    load = {"rate": rate, "p50_ms": p50, "p99_ms": 10 * p50, "processor_ms": p50, "errors": 0}
    return {
        "scenario": "serving", "peer": peer, "connections": connections, "repeat": repeat, **load
    }  # fmt: skip


def start(peer: str) -> dict:
    sizes = {"parent_rss_mb": 30.0, "parent_pss_mb": 18.0, "children_pss_mb": 200.0}
    return {"scenario": "start", "peer": peer, "repeat": 0, "seconds": 2.0, **sizes}


def test_the_table_has_medians_and_says_what_is_reached() -> None:
    samples = [
        *(sample("launcher", 16, rate, 2.0) for rate in (1000, 5000, 900)),
        sample("mlflow", 16, 200, 30.0),
        sample("litserve", 16, 1250, 10.0),
        *map(start, ("launcher", "mlflow", "litserve")),
    ]
    text = report.markdown(samples, MACHINE, {"mlflow": {"mlflow": "3.17.2"}})
    assert "| 16 connections, throughput of MLflow | at least 4 times | 5.00 | yes |" in text
    assert "| 16 connections, throughput of LitServe | at least 1 times | 0.80 | no |" in text
    assert "| batching, 16 connections, of MLflow | at least 10 times | not measured | |" in text
    assert "| launcher | 1,000, 2.00, 20.00, 2.00 | 2.0 | 200 | 18 |" in text


def test_the_table_of_the_readme_takes_the_place_of_the_last_one() -> None:
    numbers = ((1, 900, 1.25), (16, 1000, 2.0), (64, 1100, 3.0))
    table = report.readme_table(
        [*(sample("launcher", *each) for each in numbers), start("launcher")]
    )
    assert "| launcher | 900, 1.25 | 1,000, 20.00 | 1,100, 30.00 | 2.0 | 200 | 18 |" in table
    text = report.put_between(
        "a\n<!-- b -->\nold\n<!-- e -->\nz\n", "<!-- b -->", "<!-- e -->", "new\n"
    )
    assert text == "a\n<!-- b -->\n\nnew\n\n<!-- e -->\nz\n"
    assert report.put_between(text, "<!-- b -->", "<!-- e -->", "new\n") == text
    with pytest.raises(ValueError, match="<!-- e -->"):
        report.put_between("a\n<!-- b -->\n", "<!-- b -->", "<!-- e -->", "new\n")


def test_what_is_compared_was_measured_in_the_same_turn() -> None:
    samples = []
    # The machine was four times slower in the second turn, and the launcher alone in the third.
    for turn, (floor, ours) in enumerate(((2.0, 1.0), (8.0, 4.0), (2.0, 40.0))):
        both = {"scenario": "turns", "repeat": 0, "turn": turn}
        samples += [
            {**both, "peer": "one process, dataframe", "total": floor},
            {**both, "peer": "launcher", "connections": 1, "p50_ms": ours},
            {**both, "peer": "launcher", "connections": 16, "p50_ms": 100.0},
        ]
    text = report.markdown(samples, MACHINE, {})
    title = "parse + DataFrame + predict + encode in one process"
    assert f"{title} | at most 0.6 times | 0.50 | yes |" in text
    assert "| the front alone, on one processor (20,000, or" in text
    assert ") | see title | not measured | |" in text


def test_the_front_is_held_against_the_lower_of_two_bounds() -> None:
    samples = [
        {"scenario": "front", "repeat": 0, "peer": peer, "path": "/invocations", "rate": rate}
        for peer, rate in (("front", 9000.0), ("asyncio-hop", 8000.0))
    ]
    text = report.markdown(samples, MACHINE, {})
    assert "| at least 8,000 requests a second | 9,000.00 | yes |" in text


def test_files_are_compared_by_time_and_memory() -> None:
    samples = [
        {
            "scenario": "file", "repeat": 0, "format": form, "peer": peer, "rows": 2_000_000,
            "megabytes": 40.0, "seconds": seconds, "peak_mb": 500.0,
        }
        for form in ("csv", "parquet")
        for peer, seconds in (("launcher", 6.0), ("Polars", 4.0))
    ]  # fmt: skip
    text = report.markdown(samples, {**MACHINE, "blas": "openblas, 1 thread"}, {})
    assert "| predict on a large csv file, time of a Polars loop |  | 1.50 | |" in text
    assert "`predict` of 2,000,000 rows (40 MB as CSV) into CSV:" in text
    assert "| Polars, a loop by hand | 4.0, 500 | 4.0, 500 |" in text
    assert "- BLAS and threads, the same for all: openblas, 1 thread" in text


@pytest.mark.slow
def test_the_chart_is_an_svg_with_a_line_for_each_peer() -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: pip install matplotlib")
    samples = [sample(peer, c, 100 * c, c / 2) for peer in ("launcher", "mlflow") for c in (1, 16)]
    chart = report.chart(samples)
    assert chart is not None
    root = ElementTree.fromstring(chart)
    groups = {each.get("id") for each in root.iter(SVG + "g")}
    assert {"launcher", "mlflow models serve"} <= groups
    texts = [each.text for each in root.iter(SVG + "text")]
    assert {"launcher", "mlflow models serve", "median latency, ms"} <= set(texts)
    assert chart == report.chart(samples)
