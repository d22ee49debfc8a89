"""``launcher predict -o``: what is no file is written to and never replaced."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import ObedientModel

Run = Callable[..., subprocess.CompletedProcess[str]]
Predict = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture
def predict(run: Run, obedient: ObedientModel, tmp_path: Path) -> Predict:
    """Score one command of the obedient model into a path."""
    source = tmp_path / "in.json"
    source.write_text(
        json.dumps({"dataframe_split": {"columns": ["command"], "data": [["hello"]]}})
    )

    def run_to_end(output: Path) -> subprocess.CompletedProcess[str]:
        return run(
            *("predict", "-m", obedient.path, "-i", source, "-o", output),
            *("--env-manager", "local"),
        )

    return run_to_end


def test_a_device_stays_a_device(predict: Predict, tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"")
    except OSError as error:
        pytest.skip(f"no device can be made and used here, run as root: {error.strerror}")
    done = predict(null)
    assert done.returncode == 0, done.stderr
    assert stat.S_ISCHR(null.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "null", "obedient"]


def test_a_pipe_is_written_to(predict: Predict, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = predict(pipe)
    assert done.returncode == 0, done.stderr
    reader.join(30)
    assert json.loads(read[0]) == {"predictions": ["done"]}
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link(predict: Predict, tmp_path: Path, is_there: bool) -> None:
    goal, link = tmp_path / "goal.json", tmp_path / "link.json"
    if is_there:
        goal.write_text("before")
    link.symlink_to(goal)
    done = predict(link)
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert json.loads(goal.read_text()) == {"predictions": ["done"]}


def test_a_folder_is_an_error_before_any_work(predict: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    done = predict(folder)
    assert done.returncode == 2
    assert "is a folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert "loading" not in done.stderr
