"""What a person sees: on a terminal, in a file, and where nobody reads or can be written to."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

STEPS = """
import sys
from launcher.console import Console
console = Console()
for number in range(20_000):
    console.step(f"step {number} " + "x" * 100)
print("done", flush=True)
"""


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STEPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"done\n"
    shown = process.stderr.read()  # now somebody reads: the oldest is there, and the newest
    assert b"step 0 " in shown
    assert b"step 19999 " in shown
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("how", ["full", "closed"])
def test_standard_output_that_cannot_be_written_is_warned_of_once(how: str) -> None:
    script = (
        "from launcher.console import Console; console = Console(); "
        "console.result('one'); console.result('two'); console.step('on')"
    )
    to = ">/dev/full" if how == "full" else ">&-"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {to}', sys.executable, script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("warning: standard output cannot be written") == 1
    assert done.stderr.rstrip().endswith("on")


def on_a_terminal(script: str, columns: int = 80) -> str:
    """What a terminal gets from a script that writes to it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return shown.decode()


PROGRESS = """
from launcher.console import Console, Progress
console = Console()
console.under_way("resolving [numpy]")
console.step("resolved")
with Progress("Fetching", 1000) as progress:
    progress.add(1000)
"""


def test_a_terminal_shows_what_is_under_way() -> None:
    shown = on_a_terminal(PROGRESS)
    assert "resolving [numpy]" in shown
    assert "resolved" in shown
    assert "Fetching" in shown
    assert "1.0/1.0 kB" in shown
    assert shown.endswith("\x1b[?25h") or "\x1b[?25h" in shown[shown.rindex("Fetching") :]


def test_elsewhere_lines_are_plain() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRESS + "import sys; assert 'rich' not in sys.modules"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.partition("] ")[2] for line in done.stderr.splitlines()]
    assert lines == ["resolving [numpy]", "resolved"]


TABLE = """
from launcher.cli.output import print_table
print_table([["NAME", "URL"], ["iris", "http://127.0.0.1:5000/" + "x" * 60], ["b", "c"]])
"""


def test_a_table_fits_the_terminal() -> None:
    lines = on_a_terminal(TABLE, columns=40).replace("\r", "").splitlines()
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert max(map(len, plain)) <= 40
    done = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "iris  http://127.0.0.1:5000/" + "x" * 60
