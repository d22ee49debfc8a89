"""The comparison of two revisions: what it makes of pairs, and a run from end to end."""

from __future__ import annotations

import pytest

from benchmarks import compare

NAMES = ("old", "new")


def test_a_rate_that_falls_and_a_time_that_grows_are_slower() -> None:
    old = {compare.ONE_RATE: [100.0] * 3, compare.START: [1.0] * 3, compare.REUSE: [1.0] * 3}
    new = {compare.ONE_RATE: [90.0] * 3, compare.START: [1.1] * 3, compare.REUSE: [0.9] * 3}
    text, slower = compare.table((old, new), NAMES)
    assert slower == [compare.ONE_RATE, compare.START]
    assert "| 1 connection, 3 rows, req/s | 100 | 90 | 0.900 | 0.900 to 0.900 | SLOWER |" in text
    assert "| reuse of an environment, s | 1 | 0.9 | 1.111 | 1.111 to 1.111 |  |" in text


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    # The machine was slow in the second pair, and once for the new one alone.
    old, new = {compare.ONE_RATE: [100.0, 10.0, 100.0]}, {compare.ONE_RATE: [100.0, 10.0, 50.0]}
    text, slower = compare.table((old, new), NAMES)
    assert not slower
    assert "| 1.000 |" in text


@pytest.mark.long
def test_a_revision_is_compared_with_itself_from_end_to_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 1 where the machine's noise made one of the two slower.
    assert compare.main(["HEAD", "HEAD", "--quick"]) in (0, 1)
    printed = capsys.readouterr().out
    measures = [each for each in vars(compare).values() if isinstance(each, compare.Measure)]
    assert len(measures) == 8
    for measure in measures:
        assert f"| {measure.title}, {measure.unit} |" in printed
