"""Scripts that use the API, as processes that a test can interrupt and end."""

from __future__ import annotations

import subprocess
import sys

from tests.launcher.launcher_process import ObedientModel

# Runs each line that it is told.
NOTEBOOK = """
import sys
import launcher

while line := sys.stdin.readline():
    try:
        exec(line)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def run_script(model: ObedientModel, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, model.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def read_line(script: subprocess.Popen[str]) -> str:
    assert script.stdout is not None
    return script.stdout.readline().strip()


def say(script: subprocess.Popen[str], text: str = "go on") -> None:
    assert script.stdin is not None
    script.stdin.write(f"{text}\n")
    script.stdin.flush()
