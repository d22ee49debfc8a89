"""What docs/machines.md says to run is run, and prints what it says."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "machines.md"
BLOCK = re.compile(r"^```(console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="the page was written on linux-64: run on Linux on x86-64",
    ),
]


def blocks() -> list[tuple[str, list[str]]]:
    """What is run, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "console":
            found.append((text, []))
        else:
            found[-1][1].extend(text.splitlines())
    return found


def test_all_is_as_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert len(blocks()) == 7
    for command, expected in blocks():
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environ,
        )
        assert "Traceback" not in done.stdout
        assert "not the same" not in done.stdout
        printed = done.stdout.splitlines()
        if command == "launcher doctor\n":  # what there is differs, what is looked at does not
            expected, printed = (looked_at(lines) for lines in (expected, printed))
            assert set(expected) <= set(printed)
            continue
        for line in expected:
            pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
            at = [n for n, each in enumerate(printed) if pattern.fullmatch(each)]
            assert at, f"{command}{line}\nis not in\n{done.stdout}"
            del printed[: at[0] + 1]


def looked_at(lines: list[str]) -> list[str]:
    return [line[9:24].strip() for line in lines if not line.startswith(" ")]
