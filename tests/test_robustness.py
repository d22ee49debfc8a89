"""The list of what broke the first release names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_each_line_names_tests_that_are_there() -> None:
    lines = (TESTS / "ROBUSTNESS.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| [ABCDE]\d", line)]
    assert len(rows) == 13 + 15 + 19 + 3 + 24
    for row in rows:
        named = re.findall(r"`([\w/]*(?:\.py)?)::(\w+)`", row)
        assert named, row
        path = ""
        for given, test in named:
            path = given or path
            assert f"def {test}(" in (TESTS / path).read_text(), f"{path}::{test}"
