"""A program that knows of no lifeline ends when the pipe does, whatever it does meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

import launcher.supervision.process as supervised
from tests.launcher.launcher_process import wait_until_gone

# The program starts another one, so that it takes more than a signal to one process.
PROGRAM = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
AS_ELSEWHERE = """
import runpy, sys
sys.platform, sys.argv = "elsewhere", sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("script", [[], ["-c", AS_ELSEWHERE]], ids=["linux", "elsewhere"])
def test_the_end_of_the_pipe_ends_the_process_group(script: list[str]) -> None:
    lifeline, ours = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *script, supervised._TIED, str(lifeline), sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        pass_fds=[lifeline],
        start_new_session=True,
    )
    os.close(lifeline)
    this = psutil.Process(process.pid)
    while not (family := [each for each in this.children() if "input()" in each.cmdline()]):
        assert process.poll() is None
    this.suspend()
    family += this.children()
    os.close(ours)
    assert process.wait(timeout=20) == -signal.SIGKILL
    wait_until_gone(family)
