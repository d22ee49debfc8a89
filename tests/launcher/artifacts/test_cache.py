"""The cache of fetched models: `launcher models list` and `prune`, and what they leave alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from envs import EnvError
from launcher.artifacts import ModelSource, release_model, resolve_model
from launcher.artifacts.transfer.download import Part
from launcher.cli.main import main

MLMODEL = "flavors:\n  python_function:\n    loader_module: m\n"


def packed(path: Path, size: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MLmodel", MLMODEL)
        archive.writestr("data", os.urandom(size))
    return path


def fetch(path: Path, size: int, used_days_ago: float) -> ModelSource:
    """Cache a model by way of an archive, and say that nobody uses it since some days."""
    source = resolve_model(str(packed(path, size)))
    release_model(source)
    then = time.time() - used_days_ago * 86400
    os.utime(source.path.parent, (then, then))
    return source


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def three(tmp_path: Path, home: Path) -> list[ModelSource]:
    """Three models of 10, 20 and 30 kB, last used 1, 10 and 100 days ago."""
    assert home.name == "home"
    return [
        fetch(tmp_path / f"{name}.zip", size, days)
        for name, size, days in (("new", 10_000, 1), ("mid", 20_000, 10), ("old", 30_000, 100))
    ]


def test_list_shows_what_there_is(three: list[ModelSource], tmp_path: Path) -> None:
    shown = json.loads(run("list", "--json").stdout)["models"]
    assert [model["path"] for model in shown] == [str(source.path) for source in three]
    assert [model["uri"] for model in shown] == [
        str(tmp_path / f"{name}.zip") for name in ("new", "mid", "old")
    ]
    assert [model["size_bytes"] for model in shown] == [
        size + len(MLMODEL) for size in (10_000, 20_000, 30_000)
    ]
    text = run("list")
    assert all(str(source.path) in text.stdout for source in three)
    assert "3 models, 60 kB" in text.stderr


def test_an_empty_cache(home: Path) -> None:
    assert json.loads(run("list", "--json").stdout) == {"models": []}
    assert json.loads(run("prune", "--json").stdout)["removed"] == []
    assert not (home / "models").exists()


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ((), []),
        (("--older-than", "0s"), [0, 1, 2]),
        (("--older-than", "5d"), [1, 2]),
        (("--older-than", "30d"), [2]),
        (("--older-than", "1000d"), []),
        (("--max-size", "35kB"), [2]),
        (("--max-size", "15kB"), [1, 2]),
        (("--max-size", "1GB"), []),
        (("--older-than", "30d", "--max-size", "15kB"), [1, 2]),
    ],
)
def test_prune(options: tuple[str, ...], gone: list[int], three: list[ModelSource]) -> None:
    planned = json.loads(run("prune", "--dry-run", "--json", *options).stdout)
    assert all(source.path.is_dir() for source in three)
    done = json.loads(run("prune", "--json", *options).stdout)
    for report in (planned, done):
        assert {model["path"] for model in report["removed"]} == {str(three[i].path) for i in gone}
        assert len(report["kept"]) == 3 - len(gone)
    assert [source.path.is_dir() for source in three] == [i not in gone for i in range(3)]
    assert done["freed_bytes"] == planned["freed_bytes"]


def test_prune_alone_removes_what_is_damaged(three: list[ModelSource]) -> None:
    (three[1].path / "data").unlink()
    [removed] = json.loads(run("prune", "--json").stdout)["removed"]
    assert removed["path"] == str(three[1].path)
    assert [source.path.is_dir() for source in three] == [True, False, True]


def test_show_and_remove_take_a_key_its_beginning_or_the_uri(three: list[ModelSource]) -> None:
    first = json.loads(run("list", "--json").stdout)["models"][0]
    shown = json.loads(run("show", "--json", first["key"][:8]).stdout)
    assert shown == {**first, "sizes": {"MLmodel": len(MLMODEL), "data": 10_000}}
    text = run("show", first["uri"]).stdout
    assert first["key"] in text
    assert "10 kB  data" in text

    assert "would remove" in run("remove", "--dry-run", first["key"][:8]).stdout
    assert three[0].path.is_dir()
    run("remove", first["key"][:8], three[1].uri)
    assert [source.path.is_dir() for source in three] == [False, False, True]


@pytest.mark.parametrize(("wanted", "why"), [("nobody", "no downloaded"), ("", "no downloaded")])
def test_what_leads_to_no_model_removes_none(
    wanted: str, why: str, three: list[ModelSource]
) -> None:
    result = CliRunner().invoke(main, ["models", "remove", three[0].uri, wanted])
    assert result.exit_code == 2
    assert why in result.output
    assert all(source.path.is_dir() for source in three)


def test_prune_leaves_what_a_process_uses(three: list[ModelSource], home: Path) -> None:
    code = (
        "import sys; from launcher.artifacts import resolve_model\n"
        "resolve_model(sys.argv[1]); print('using it', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, three[2].uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "using it\n"
        assert f"in use by {user.pid}" in run("list").stdout
        report = json.loads(run("prune", "--json", "--older-than", "0s").stdout)
        assert [model["in_use_by"] for model in report["kept"]] == [[user.pid]]
        assert [source.path.is_dir() for source in three] == [False, False, True]
        user.kill()
        user.wait()
    # Killed, it uses nothing any more.
    assert len(json.loads(run("prune", "--json", "--older-than", "0s").stdout)["removed"]) == 1
    assert not list((home / "models").glob("*/manifest.json"))


def test_prune_removes_what_broken_downloads_left(home: Path) -> None:
    for name in ("0" * 32, f".trash/{'1' * 32}-12"):
        (home / "models" / name / "model").mkdir(parents=True)
        (home / "models" / name / "model" / "file").write_text("x")
    assert len(json.loads(run("prune", "--json", "--dry-run").stdout)["partial"]) == 1
    assert len([path for path in (home / "models").rglob("*") if path.name == "file"]) == 2
    assert not json.loads(run("prune", "--json", "--older-than", "1h").stdout)["partial"]
    assert len(json.loads(run("prune", "--json").stdout)["partial"]) == 1
    assert [path for path in (home / "models").rglob("*") if path.is_file()] == []


def test_what_an_earlier_version_cached_is_found_and_its_leftovers_pruned(
    three: list[ModelSource], home: Path
) -> None:
    """Until 0.1: locks in `locks`, marks in KEY/users, transfers in KEY.partial."""
    models = home / "models"
    for name in ("locks", f"{'0' * 32}.partial/model", f"{'1' * 32}.removed-12"):
        (models / name).mkdir(parents=True)
    key = three[0].path.parent
    (key / "users").mkdir()
    assert resolve_model(three[0].uri) == three[0]
    assert {model["key"] for model in json.loads(run("list", "--json").stdout)["models"]} == {
        source.path.parent.name for source in three
    }
    report = json.loads(run("prune", "--json", "--older-than", "0s").stdout)
    assert [model["key"] for model in report["kept"]] == [key.name]
    assert {path.name for path in models.iterdir() if path.name[0] != "."} == {"locks", key.name}


def test_each_use_is_taken_back_by_one_release(three: list[ModelSource]) -> None:
    """As a process does that asks again and again what is behind a moving URI."""

    def in_use() -> list[int]:
        listed = json.loads(run("list", "--json").stdout)["models"]
        return [len(model["in_use_by"]) for model in listed if model["path"] == str(three[0].path)]

    served = resolve_model(three[0].uri)
    for _ in range(3):
        release_model(resolve_model(three[0].uri))
    assert in_use() == [1]
    release_model(served)
    assert in_use() == [0]
    release_model(served)  # More often than it was used: nothing happens.
    assert len(json.loads(run("prune", "--json", "--older-than", "0s").stdout)["removed"]) == 3


def test_a_moving_uri_that_is_asked_again_and_again_leaves_no_marks(
    tmp_path: Path, home: Path
) -> None:
    archive = tmp_path / "moving.zip"
    seen = set()
    for number in range(4):
        now = resolve_model(str(packed(archive, 1000 + number)))
        seen.add(now.revision)
        release_model(now)
    assert len(seen) == 4
    assert [path for path in (home / "models" / ".users").rglob("*") if path.is_file()] == []
    assert len(json.loads(run("prune", "--json", "--older-than", "0s").stdout)["removed"]) == 4


def test_the_home_is_this_users_alone_and_no_planted_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "above" / "home"
    monkeypatch.setenv("LAUNCHER_HOME", str(home))
    source = resolve_model(str(packed(tmp_path / "m.zip", 100)))
    folders = [home.parent, home, *(path for path in home.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    files = [path for path in source.path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "part").symlink_to(victim)
    (tmp_path / "part.validator").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        Part(tmp_path / "part", lambda _count: None)
    (tmp_path / "part").unlink()
    part = Part(tmp_path / "part", lambda _count: None)
    with pytest.raises(OSError, match="symbolic links"):
        part.restart("tag")
    part.close()
    assert victim.read_text() == "precious"


def test_an_unknown_users_home_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", "~no-such-user-here/home")
    with pytest.raises(EnvError, match=r"^LAUNCHER_HOME is .* unknown user\."):
        resolve_model(str(packed(tmp_path / "m.zip", 10)))


def test_a_damaged_model_is_fetched_again(three: list[ModelSource]) -> None:
    (three[0].path / "data").write_bytes(b"cut")
    again = resolve_model(three[0].uri)
    assert again.path == three[0].path
    assert (again.path / "data").stat().st_size == 10_000


def test_wrong_quantities_are_bad_usage() -> None:
    for option in ("--older-than", "--max-size"):
        result = CliRunner().invoke(main, ["models", "prune", option, "much"])
        assert result.exit_code == 2
        assert "write" in result.output
