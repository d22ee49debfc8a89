"""``launcher lock``: what it refuses before anything is resolved."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.pip.platforms import PLATFORMS
from launcher.cli.parsing.option_types import PLATFORM
from tests.launcher.images.tiny_model import tiny_model

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("linux64", "'linux64' is not one of 'linux-64', 'linux-aarch64', 'osx-64', 'osx-arm64'."),
        ("win-64", "Models are served on Linux and macOS, not on Windows."),
    ],
)
def test_a_name_of_no_platform(run: Run, tmp_path: Path, name: str, said: str) -> None:
    done = run("lock", "-m", tmp_path, "--platform", "osx-64", "--platform", name)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_the_command_line_has_all_platforms() -> None:
    assert list(PLATFORM.choices) == list(PLATFORMS)


def test_a_folder_that_takes_no_file_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny", requirements="there-is-no-such-package")
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "below", Path("/proc"), Path("/dev/null/x")):
        done = run("lock", "-m", model, "--platform", "linux-64", "-o", output)
        assert done.returncode == 2, done.stderr
        assert f"Error: {output} cannot be written to: " in done.stderr
        assert done.stderr.endswith("Give a folder of yours, with --output.\n")
    done = run("lock", "-m", model, "-o", tmp_path / "file")
    assert (done.returncode, "is a file" in done.stderr) == (2, True)
