"""The cache of fetched models: `launcher models list` and `prune`, and what they leave alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.artifacts import ModelSource, release_model, resolve_model
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
    os.utime(source.path.parent / "manifest.json", (then, then))
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
        ((), [0, 1, 2]),
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
        report = json.loads(run("prune", "--json").stdout)
        assert [model["in_use_by"] for model in report["kept"]] == [[user.pid]]
        assert [source.path.is_dir() for source in three] == [False, False, True]
        user.kill()
        user.wait()
    # Killed, it uses nothing any more.
    assert len(json.loads(run("prune", "--json").stdout)["removed"]) == 1
    assert not list((home / "models").glob("*/manifest.json"))


def test_prune_removes_what_broken_downloads_left(home: Path) -> None:
    for name in ("0" * 32 + ".partial", "1" * 32 + ".removed-12"):
        (home / "models" / name / "model").mkdir(parents=True)
        (home / "models" / name / "model" / "file").write_text("x")
    assert len(json.loads(run("prune", "--json", "--dry-run").stdout)["partial"]) == 1
    assert len(list((home / "models").iterdir())) == 3  # and locks
    assert not json.loads(run("prune", "--json", "--older-than", "1h").stdout)["partial"]
    assert len(json.loads(run("prune", "--json").stdout)["partial"]) == 1
    assert [path.name for path in (home / "models").iterdir()] == ["locks"]


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
