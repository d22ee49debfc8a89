"""The folders of temporary files that workers have."""

from __future__ import annotations

import os

import pytest

from scoring_server.worker.scratch import Scratch


@pytest.fixture(autouse=True)
def tmpdir_stays(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")


def test_each_process_has_its_own_and_it_goes_with_it(tmp_path):
    scratch = Scratch(str(tmp_path), 12)
    scratch.claim()
    [folder] = tmp_path.glob("scoring-server-12/*")
    assert os.environ["TMPDIR"] == str(folder)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    scratch.claim()  # an earlier process had the same number
    scratch.sweep({os.getpid()})
    assert folder.is_dir()
    scratch.sweep(set())
    assert not folder.exists()
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_put_there_is_not_used(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scoring-server-12").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="not this user's own"):
        Scratch(str(tmp_path), 12).claim()
    assert list((tmp_path / "elsewhere").iterdir()) == []
