"""The version stands in one file; the packages and the command line agree with it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import scoring_server


def test_the_version_is_the_one_that_the_scoring_server_has() -> None:
    command = [sys.executable, "-m", "launcher", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split()[-1] == scoring_server.__version__ == version("mlmodel-launcher")
