"""README's first screen, typed by somebody who has nothing but Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.first_five_minutes import CLONE, Readme

PROGRAMS = ("debootstrap", "unshare", "chroot")
SET_UP = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && "
    ".venv/bin/launcher serve -m fixtures/iris"
)
TEST = ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def test_the_first_screen_is_commands_that_can_be_typed() -> None:
    readme = Readme()
    assert readme.set_up == SET_UP
    assert readme.test == TEST
    compile(readme.train, "train.py", "exec")
    assert readme.serve_own == "launcher serve -m runs:/RUN_ID/iris"
    assert "http://127.0.0.1:5000/" in readme.curl


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
    reason=f"as root, with {', '.join(PROGRAMS)}: apt-get install debootstrap",
)
def test_all_of_it_works_where_there_is_nothing_but_python(launcher_home: Path) -> None:
    command = [sys.executable, "-m", "tests.first_five_minutes", str(launcher_home.parent)]
    done = subprocess.run(
        command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
