"""The door that managers stand behind: one from outside is like those that are brought along."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from envs import EnvError, EnvSpec, EnvStore, describe, environ, prepare
from envs.building.context import Context
from envs.building.process import run
from envs.inventory import prune
from envs.locking import fill_wheelhouse, write_lockfile
from envs.managers import registry
from envs.managers.manager import BuildingManager
from envs.plan import Contents
from launcher.cli.main import main


@dataclass(frozen=True)
class ToyPlan:
    canonical: dict[str, Any]
    requirements: tuple[str, ...]


class ToyManager(BuildingManager[ToyPlan]):
    """Environments of a Python alone, made by the standard library."""

    name = "toy"

    def __init__(self, missing: bool = False) -> None:
        self.missing = missing

    def check(self) -> None:
        if self.missing:
            raise EnvError("--env-manager toy needs toys.", hint="pip install toys")

    def plan(self, spec: EnvSpec, context: Context) -> ToyPlan:  # noqa: ARG002
        return ToyPlan({"manager": self.name, "lines": spec.requirements}, spec.requirements)

    def build(self, plan: ToyPlan, prefix: Path, context: Context) -> Contents:  # noqa: ARG002
        run([sys.executable, "-m", "venv", "--without-pip", prefix], log=context.log)
        version = sys.version.split()[0]
        packages = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        return Contents("bin/python", version, packages, {}, "", "today")


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> type[ToyManager]:
    """The toy manager, registered for this test."""
    monkeypatch.setattr(registry, "_managers", dict(registry._managers))
    monkeypatch.setattr(registry, "_aliases", dict(registry._aliases))
    registry.register("toy", ToyManager, "plaything")
    return ToyManager


@pytest.mark.usefixtures("toys")
def test_a_manager_from_outside_builds_reuses_and_prunes(store: EnvStore) -> None:
    spec = EnvSpec(env_manager="plaything", requirements=("ball",))
    expected = describe(spec, store=store)
    assert (expected.env_manager, expected.requirements, expected.is_built) == (
        "toy", ("ball",), False
    )  # fmt: skip
    built = prepare(spec, store=store)
    assert (built.env_manager, built.key, built.as_of) == ("toy", expected.key, "today")
    assert prepare(spec, store=store).reused
    variables = environ(built)
    assert variables["PATH"].split(os.pathsep)[0] == str(built.path / "bin")
    assert prune(store) == []


@pytest.mark.usefixtures("toys")
def test_it_is_offered_on_the_command_line() -> None:
    for command in ("serve", "predict", "lock"):
        shown = CliRunner().invoke(main, [command, "--help"]).output
        assert "virtualenv|uv|conda|local|toy|plaything" in "".join(shown.split())
    refused = CliRunner().invoke(main, ["lock", "-m", ".", "--env-manager", "docker"])
    assert refused.exit_code == 2
    assert "toy" in refused.output


def test_what_a_manager_lacks_is_said_before_anything_is_built(
    store: EnvStore, toys: type[ToyManager]
) -> None:
    registry.register("toy", partial(toys, missing=True))
    for action in (prepare, describe):
        with pytest.raises(EnvError, match="needs toys") as raised:
            action(EnvSpec(env_manager="toy"), store=store)
        assert raised.value.hint == "pip install toys"
    assert not store.root.exists()


def test_what_a_manager_cannot_do_is_said(store: EnvStore, tmp_path: Path) -> None:
    local = EnvSpec(env_manager="local")
    with pytest.raises(EnvError, match="manager local cannot be locked"):
        write_lockfile(local, tmp_path, store=store)
    with pytest.raises(EnvError, match="no wheelhouse for the environment manager local"):
        fill_wheelhouse(local, tmp_path, store=store)


def test_aliases_stand_for_a_manager_and_unknown_names_for_none(store: EnvStore) -> None:
    assert registry.canonical_name("uv") == registry.manager_of("uv").name == "virtualenv"
    with pytest.raises(EnvError, match="no environment manager 'docker'"):
        prepare(EnvSpec(env_manager="docker"), store=store)


def test_a_process_in_an_environment_sees_no_other(
    monkeypatch: pytest.MonkeyPatch, store: EnvStore
) -> None:
    foreign = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_SHLVL", "UV_INDEX", "FLASK_APP",
               "LISTEN_FDS", "PYENV_VERSION")  # fmt: skip
    for name in foreign:
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    variables = environ(prepare(EnvSpec(env_manager="local"), store=store))
    assert "/elsewhere" not in variables.values()
    assert variables["KEPT"] == "yes"
    assert (variables["PYTHONNOUSERSITE"], variables["PYTHONUNBUFFERED"]) == ("1", "1")
    assert variables["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
