"""What activation sets, on a folder that looks like a conda environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envs.managers.conda.activation import activated_environ

PLAIN = {"PATH": os.environ.get("PATH", os.defpath), "KEPT": "yes"}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    return folder


def activated(prefix: Path) -> tuple[dict[str, str], list[str]]:
    """What activation added, and the warnings."""
    warnings: list[str] = []
    environ = activated_environ(prefix, PLAIN, warnings.append)
    added = {name: value for name, value in environ.items() if PLAIN.get(name) != value}
    conda = {name: added.pop(name) for name in list(added) if name.startswith("CONDA_")}
    assert conda == {
        "CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1"
    }  # fmt: skip
    return added, warnings


def test_an_environment_without_scripts(tmp_path: Path) -> None:
    assert activated(tmp_path) == ({}, [])


def test_scripts_run_in_order_and_build_on_each_other(tmp_path: Path, scripts: Path) -> None:
    (scripts / "b.sh").write_text('export LINES="$FIRST\nand \'second\'" PATH="/opt/x:$PATH"\n')
    (scripts / "a.sh").write_text("echo noise; export FIRST=first; not_exported=1\n")
    (scripts / "c.fish").write_text("exit 1\n")
    added, warnings = activated(tmp_path)
    assert added == {
        "FIRST": "first", "LINES": "first\nand 'second'", "PATH": f"/opt/x:{PLAIN['PATH']}"
    }  # fmt: skip
    assert warnings == []


def test_a_variable_may_be_taken_away(tmp_path: Path, scripts: Path) -> None:
    (scripts / "a.sh").write_text("unset KEPT\n")
    assert "KEPT" not in activated_environ(tmp_path, PLAIN, pytest.fail)


@pytest.mark.parametrize(
    ("text", "words", "added"),
    [
        ("export A=1; exit 7", "code 7", {"A": "1", "B": "2"}),
        ("set -e; export A=1; false; export A=3", "code 1", {"A": "1", "B": "2"}),
        ("export A=1; if", "syntax error", {"B": "2"}),
        ("kill -9 $$", "code 137", {"B": "2"}),
        ("exec sh -c 'exit 4'", "code 4", {"B": "2"}),
        ("export A=1; exec true", "did not return", {"B": "2"}),
    ],
)
def test_a_script_that_fails_is_named_and_the_others_run(
    tmp_path: Path, scripts: Path, text: str, words: str, added: dict[str, str]
) -> None:
    (scripts / "a.sh").write_text(text + "\n")
    (scripts / "b.sh").write_text("export B=2\n")
    got, warnings = activated(tmp_path)
    assert got == added
    [warning] = warnings
    assert str(scripts / "a.sh") in warning
    assert words in warning


def test_variables_are_taken_as_they_are(tmp_path: Path, scripts: Path) -> None:
    folder = scripts.with_name("env_vars.d")
    folder.mkdir()
    (folder / "a.json").write_text('{"A": "$HOME `id` \\"x\\"", "B": "1"}')
    (folder / "b.json").write_text('{"B": "2"}')
    (folder / "c.json").write_text("no JSON")
    (scripts / "a.sh").write_text('export C="$B"\n')
    assert activated(tmp_path) == ({"A": '$HOME `id` "x"', "B": "2", "C": "2"}, [])
