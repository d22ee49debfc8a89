"""The files of the servers' output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.supervision.log import KEPT_LOGS, ServerLog, new_log_path


def test_the_newest_logs_of_a_name_are_kept_and_all_of_other_names(tmp_path: Path) -> None:
    others = [tmp_path / f"iris-2-20260101-00000{n}-1.log" for n in range(9)]
    others += [tmp_path / "iris-notes.log", tmp_path / "iris.log"]
    ours = [tmp_path / f"iris-202601{n:02}-000000-1.log" for n in range(10, 10 + KEPT_LOGS + 5)]
    for path in (*others, *ours):
        path.touch()
    new = new_log_path(tmp_path, "iris")
    assert not new.exists()
    assert all(path.exists() for path in others)
    assert [path.exists() for path in ours] == [False] * 5 + [True] * KEPT_LOGS


def test_a_full_log_is_put_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "serve.log"
    log = ServerLog(path, None, max_size=1000, kept=2)
    for number in range(100):
        log.write(f"line {number:>95}\n".encode())
    log.close()
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files] == ["serve.log", "serve.log.1", "serve.log.2"]
    assert all(each.stat().st_size <= 1100 for each in files)
    assert path.read_text().endswith(" 99\n")
    numbers = [int(line.split()[1]) for each in reversed(files) for line in each.open()]
    assert numbers == list(range(numbers[0], 100))
    assert log.tail()[-1].endswith(" 99")
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}


def test_own_output_follows_the_log_that_is_turned_over(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from launcher.supervision.log import ServerLog\n"
        "log = ServerLog(Path(sys.argv[1]), None, max_size=10, kept=1)\n"
        "log.write(b'a' * 20 + b'\\n')\n"
        "log.write(b'the server says\\n')\n"
        "os.write(2, b'the launcher says\\n')\n"
    )
    path = tmp_path / "serve.log"
    with path.open("ab") as output:
        subprocess.run(
            [sys.executable, "-c", script, str(path)], stdout=output, stderr=output, check=True
        )
    assert path.read_text() == "the server says\nthe launcher says\n"
    assert (tmp_path / "serve.log.1").read_text() == "a" * 20 + "\n"


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    goal = tmp_path / "goal"
    (tmp_path / "serve.log").symlink_to(goal)
    with pytest.raises(OSError, match=r"serve\.log"):
        ServerLog(tmp_path / "serve.log", None)
    assert not goal.exists()
