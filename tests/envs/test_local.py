"""The running Python as an environment, and what it lacks."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from envs import EnvSpec, Mismatch, describe, prepare


def local(*requirements: str, **fields: object) -> EnvSpec:
    return EnvSpec(env_manager="local", requirements=requirements, **fields)  # type: ignore[arg-type]


def test_it_is_the_python_that_runs_this() -> None:
    found = prepare(local())
    assert found.python == Path(sys.executable)
    assert found.path == Path(sys.prefix)
    assert found.packages["pytest"] == version("pytest")
    assert found.reused
    with found.in_use() as mark:
        assert mark is None


def test_missing_and_other_versions_are_listed_and_the_rest_is_not() -> None:
    pytest_version = version("pytest")
    found = prepare(
        local(
            "no_such_package>=1",
            "pytest<1",
            f"PyTest=={pytest_version}",
            "packaging",
            'older ; python_version < "3"',
            "git+https://host/x.git",
            server_requirements=("another-missing",),
        )
    )
    assert found.mismatches == (
        Mismatch("no_such_package>=1", None),
        Mismatch("pytest<1", pytest_version),
        Mismatch("another-missing", None),
    )


def test_build_requirements_do_not_matter() -> None:
    assert prepare(local(build_requirements=("setuptools==1",))).mismatches == ()


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("no_such_package\n")
    found = prepare(local("-r requirements.txt", base_dir=tmp_path))
    assert [m.requirement for m in found.mismatches] == ["no_such_package"]


def test_it_can_be_described() -> None:
    described = describe(local("b", "a"))
    assert described.is_built
    assert described.requirements == ("a", "b")
    assert described.key == prepare(local()).key
