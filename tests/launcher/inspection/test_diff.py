"""``launcher diff``: what two models need and take, beside each other."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.commands.environment import BuildOptions, EnvironmentOptions
from launcher.commands.model_opening import ModelRequest
from launcher.console import Console
from launcher.errors import EnvironmentBuildError
from launcher.inspection.differences import Change, Section, Side, compare, open_side
from tests.launcher.images.tiny_model import tiny_model

Run = Callable[..., subprocess.CompletedProcess[str]]
PYLOCK = 'lock-version = "1.0"\ncreated-by = "a test"\n'


def opened(path: Path, manager: str = "virtualenv") -> Side:
    options = EnvironmentOptions(manager, build=BuildOptions(offline=True))
    return open_side(ModelRequest(str(path), offline=True), options, Console(quiet=True))


def compared(a: Path, b: Path, manager: str = "virtualenv") -> dict[str, Section]:
    sections = compare(opened(a, manager), opened(b, manager))
    return {section.name: section for section in sections}


def changes(section: Section) -> dict[str, tuple[str | None, str | None]]:
    return {name: (a, b) for name, a, b in section.changes}


def with_signature(folder: Path, **parts: Any) -> Path:
    """A tiny model with a signature."""
    model = tiny_model(folder)
    signature = {name: json.dumps(value) for name, value in parts.items()}
    with (model / "MLmodel").open("a") as file:
        file.write(f"signature: {json.dumps(signature)}\n")
    return model


def test_real_models_of_two_releases(real_models: Path) -> None:
    found = compared(real_models / "mlflow-1.30.0-sklearn", real_models / "mlflow-3.0.1-sklearn")
    assert changes(found["versions"]) == {
        "Python": ("3.9.18", "3.12.1"),
        "MLflow": ("1.30.0", "3.0.1"),
    }
    assert changes(found["flavors"]) == {"sklearn.sklearn_version": ("1.1.3", "1.7.0")}
    requirements = changes(found["requirements"])
    assert requirements["scikit-learn"] == ("==1.1.3", "==1.7.0")
    assert requirements["mlflow"] == ("any version", "==3.0.1")
    assert requirements["scipy"] == (None, "==1.16.0")
    assert requirements["build pip"] == ("==22.3", "==25.1.1")
    assert not found["inputs"].changes
    assert found["lockfile"] == Section("lockfile", (), "none")


def test_the_page_and_its_exit_codes(run: Run, iris: Path, real_models: Path) -> None:
    done = run("diff", iris, real_models / "mlflow-3.17.2-sklearn-forest", "--offline")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"A  {iris}: sklearn, MLflow 3.17.2, Python 3.11.7")
    first = lines.index("inputs") + 1
    assert [" ".join(line.split()) for line in lines[first : first + 8]] == [
        *(f"- {part}_{size} double" for part in ("sepal", "petal") for size in ("length", "width")),
        *(
            f"+ {part} {size} (cm) double"
            for part in ("sepal", "petal")
            for size in ("length", "width")
        ),
    ]
    assert "  ~ column 1  tensor of object, shape [-1] -> tensor of int64, shape [-1]" in lines
    assert lines[-1].startswith(
        "the same: versions, flavors, requirements, lockfile (none), params"
    )
    # One that was made anew: another id and another day of no consequence.
    done = run("diff", iris, iris, "--offline", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr, answer["same"]) == (0, "", True)
    assert not any(answer["differences"].values())
    assert answer["a"]["uuid"] == "c2d0c647a3d24563ab041e9f51e32cbd"
    assert answer["a"]["environment"] == answer["b"]["environment"]
    done = run("diff", iris, iris.with_name("nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no folder" in done.stderr


def test_signatures(tmp_path: Path) -> None:
    tags = {"type": "array", "items": {"type": "string"}, "name": "tags", "required": True}
    person = {
        "type": "object",
        "name": "person",
        "required": True,
        "properties": {
            "age": {"type": "long", "required": False},
            "name": {"type": "string", "required": True},
        },
    }
    a = with_signature(
        tmp_path / "a",
        inputs=[
            {"type": "long", "name": "same", "required": True},
            {"type": "long", "name": "wider", "required": True},
            {"type": "string", "name": "may_lack", "required": True},
            {"type": "string", "name": "gone"},
            tags,
        ],
        params=[{"name": "kept", "type": "double", "default": 0.5, "shape": None}],
    )
    b = with_signature(
        tmp_path / "b",
        inputs=[
            {**tags, "items": {"type": "map", "values": {"type": "long"}}},
            {"type": "double", "name": "wider", "required": True},
            {"type": "string", "name": "may_lack", "required": False},
            {"type": "long", "name": "same", "required": True},
            person,
        ],
        params=[
            {"name": "kept", "type": "double", "default": 0.7, "shape": None},
            {"name": "stop", "type": "string", "default": ["."], "shape": [-1]},
        ],
    )
    found = compared(a, b, "local")
    assert changes(found["inputs"]) == {
        "wider": ("long", "double"),
        "may_lack": ("string", "string, optional"),
        "gone": ("string", None),
        "tags": ("list of string", "list of map to long"),
        "person": (None, "object (age: long, optional; name: string)"),
    }
    assert changes(found["params"]) == {
        "kept": ("double = 0.5", "double = 0.7"),
        "stop": (None, 'list of string = ["."]'),
    }
    assert not found["environment"].changes  # both run in this Python


def test_lockfiles(tmp_path: Path) -> None:
    models = [tiny_model(tmp_path / name) for name in ("a", "b", "c", "d")]
    a, b, without, damaged = models
    rows = '[[packages]]\nname = "{}"\nversion = "{}"\n'
    (a / "pylock.toml").write_text(PYLOCK + rows.format("fig", "1.0") + rows.format("ash", "1"))
    (b / "pylock.toml").write_text(
        PYLOCK + "".join(rows.format("fig", version) for version in ("2.0", "1.0"))
    )
    found = compared(a, b)
    assert changes(found["lockfile"]) == {"fig": ("1.0", "1.0, 2.0"), "ash": ("1", None)}
    assert found["environment"].note == "because of: lockfile"
    found = compared(a, without)
    assert changes(found["lockfile"]) == {"file": ("pylock.toml", None)}
    (damaged / "pylock.toml").write_text("packages = 7")
    with pytest.raises(EnvironmentBuildError, match=r"pylock.toml cannot be read"):
        compared(a, damaged)


def test_environments(tmp_path: Path) -> None:
    """What is in both where both are built; the packages are told, not installed here."""
    a = opened(tiny_model(tmp_path / "a", requirements="fig\nash>=1,<2\n"))
    b = opened(tiny_model(tmp_path / "b", requirements="ash < 2, >= 1\nfig  # the same\n"))
    assert a.plan is not None
    (environment,) = [each for each in compare(a, b) if each.name == "environment"]
    assert environment == Section("environment", (), f"{a.plan.key}, to be built")
    later = tiny_model(tmp_path / "later", requirements="fig\nash>=1,<2\n")
    text = (later / "MLmodel").read_text().replace("2026-11-01", "2026-11-02")
    (later / "MLmodel").write_text(text)
    b = opened(later)
    assert b.plan is not None
    (environment,) = [each for each in compare(a, b) if each.changes]
    assert environment.note == "because of: upload bound"
    assert environment.changes[0] == Change("key", a.plan.key, b.plan.key)
    a = a._replace(plan=a.plan._replace(packages={"fig": "1", "ash": "1"}))
    b = b._replace(plan=b.plan._replace(packages={"fig": "2", "ash": "1"}))
    (environment,) = [each for each in compare(a, b) if each.changes]
    assert environment.changes[-1] == Change("package fig", "1", "2")


def test_an_environment_that_cannot_be_planned_is_no_difference(tmp_path: Path) -> None:
    a = tiny_model(tmp_path / "a", python="3.99")
    b = shutil.copytree(a, tmp_path / "b")
    sections = compare(opened(a), opened(b))
    assert not any(section.changes for section in sections)
    assert sections[-1].note is not None
    assert sections[-1].note.startswith("not known. A: ")
    assert "3.99" in sections[-1].note


def test_credentials_are_not_shown(tmp_path: Path) -> None:
    a = tiny_model(tmp_path / "a", requirements="fig @ https://me:s3cret@host.invalid/fig-1.zip\n")
    b = tiny_model(
        tmp_path / "b", requirements="--index-url https://me:s3cret@host.invalid/\nfig\n"
    )
    found = compared(a, b)
    assert changes(found["requirements"])["fig"][0] == "@ https://host.invalid/fig-1.zip"
    assert "s3cret" not in str(found)


def test_what_conda_gets(tmp_path: Path) -> None:
    channels = ("https://me:s3cret@host.invalid/t/tk-s3cret/mine", "conda-forge")
    for name, channel in zip("ab", channels, strict=True):
        (tiny_model(tmp_path / name) / "conda.yaml").write_text(
            f"channels: ['{channel}']\ndependencies: [python=3.11, 'fig=={name}', {{pip: [ash]}}]\n"
        )
    found = compared(tmp_path / "a", tmp_path / "b", "conda")
    assert changes(found["requirements"]) == {
        "channel 1": ("https://host.invalid/mine", "conda-forge"),
        "conda fig": ("==a", "==b"),
    }
    assert "s3cret" not in str(found)
