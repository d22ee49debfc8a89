"""The tests pass where their parent ignores SIGINT, as ``nohup`` and a shell's ``&`` do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = "tests/envs/test_durability.py"
TEST = f"{FILE}::test_a_build_that_was_ended_leaves_no_process_and_is_done_again[2]"


@pytest.mark.slow
def test_a_test_of_sigint_passes_where_sigint_is_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", TEST]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
