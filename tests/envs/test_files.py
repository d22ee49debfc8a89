"""Reading files that come from anywhere, and writing whole ones."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from envs import EnvError
from envs.disk.files import write_atomically, write_json
from envs.disk.home import close_home
from envs.disk.yaml_file import DEEPEST, LARGEST, MOST_NODES, read_yaml


def laughs(levels: int, merge: bool = False) -> str:
    """Each level has the one before ten times."""
    lines = ["a0: &a0 {x: lol}"]
    for level in range(1, levels):
        before = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{before}]}}" if merge else f"[{before}]"))
    return "\n".join(lines)


def test_aliases_and_dates_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: 2020-09-01\n")
    content = read_yaml(path)
    assert (content["b"], content["c"]) == ({"x": 1}, {"x": 1, "y": 2})
    assert content["d"].isoformat() == "2020-09-01"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(9), f"more than {MOST_NODES} YAML nodes"),
        (laughs(9, merge=True), f"more than {MOST_NODES} YAML nodes"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"more than {DEEPEST} levels"),
        ("[" * 1_000_000, "levels|nest"),
        ("- a\n" * (MOST_NODES + 1), f"more than {MOST_NODES} YAML nodes"),
        ("a: &a [*a]", "inside of what it stands for"),
        ("a: [1,\nb: 2", "is not YAML, line 3"),
        ("a: \ud800".encode("utf-8", "surrogatepass"), "is not YAML"),
        (b"a: \xff\xfe", "is not YAML"),
        (b" " * (LARGEST + 1), f"it has more than {LARGEST} bytes"),
    ],
    ids=["laughs", "merges", "deep", "very-deep", "long", "recursive", "broken", "surrogate",
         "not-utf-8", "large"],
)  # fmt: skip
def test_yaml_that_is_a_bomb_or_none_is_refused(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    path = tmp_path / "MLmodel"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    tracemalloc.start()
    try:
        with pytest.raises(EnvError, match=words):
            read_yaml(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir],
    ids=["fifo", "device", "folder"],
)
def test_only_regular_files_are_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "f")
    with pytest.raises(
        EnvError, match=r"cannot be read: (it is not a regular file|Is a directory)"
    ):
        read_yaml(tmp_path / "f")


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "f.json").symlink_to(tmp_path / "victim")
    write_json(tmp_path / "f.json", {"path": tmp_path}, mode=0o600)
    assert (tmp_path / "victim").read_text() == "kept"
    assert json.loads((tmp_path / "f.json").read_text()) == {"path": str(tmp_path)}
    assert stat.S_IMODE((tmp_path / "f.json").lstat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Closes the home below ``tmp_path``, and gives what it tells."""
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))

    def close() -> list[str]:
        lines: list[str] = []
        close_home(lines.append)
        return lines

    return close


def modes(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


def test_a_home_that_was_left_open_is_closed_once(
    tmp_path: Path, told: Callable[[], list[str]]
) -> None:
    assert told() == []  # none yet
    home = tmp_path / "home"
    (home / "envs").mkdir(parents=True)
    (home / "interpreters-3.json").touch()
    home.chmod(0o757)
    (line,) = told()
    assert line.startswith(f"{home} was open to other users (mode 757)")
    assert modes(home) == [0o700]
    assert told() == []


def test_what_is_not_ours_alone_stays_open(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    """A folder for all kinds of things, as ``/tmp`` is, or one that a link leads to."""
    home = tmp_path / "home"
    for folder in (home / "envs", home / "theirs", tmp_path / "linked"):
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    (home / "logs").symlink_to(tmp_path / "linked")
    home.chmod(0o1777)
    (line,) = told()
    assert line.startswith(f"{home / 'envs'} was open")
    assert modes(home, home / "envs", home / "theirs", tmp_path / "linked") == [
        0o1777, 0o700, 0o755, 0o755,
    ]  # fmt: skip
    home.chmod(0o777)
    (line,) = told()
    assert line.startswith(f"anybody may write to {home}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away: run as root")
def test_a_home_of_another_user_is_told_of_and_left(
    tmp_path: Path, told: Callable[[], list[str]]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    os.chown(home, 12345, -1)
    (line,) = told()
    assert line.startswith(f"{home} belongs to user 12345")
    assert modes(home) == [0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user: run as root")
def test_a_home_that_root_shares_is_nothing_to_tell(
    told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image, which is made by root and run as somebody else."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # others cannot come to tmp_path
        monkeypatch.setenv("LAUNCHER_HOME", folder)
        Path(folder, "envs").mkdir()
        Path(folder).chmod(0o755)
        os.seteuid(12345)
        try:
            assert list(Path(folder).iterdir())
            assert told() == []
        finally:
            os.seteuid(0)
        assert modes(Path(folder)) == [0o755]
