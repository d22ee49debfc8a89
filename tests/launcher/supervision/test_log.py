"""The files of the servers' output."""

from __future__ import annotations

from pathlib import Path

from launcher.supervision.log import KEPT_LOGS, new_log_path


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
