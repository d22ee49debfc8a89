"""What somebody is told who lacks an extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envs.extras import how_to_install


def test_the_packages_of_an_extra_are_named_as_they_can_be_installed(tmp_path: Path) -> None:
    command = how_to_install("conda")
    assert command.startswith("pip install 'py-rattler")
    # What pip makes of it: nothing to do, they are here.
    words = command.replace("'", "").split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--dry-run", "--no-index", "-q"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_the_distribution_its_name_is_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("envs.extras._DISTRIBUTION", "of-nobody")
    assert how_to_install("conda") == "pip install 'of-nobody[conda]'"
