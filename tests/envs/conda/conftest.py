"""A channel, and stores to build from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envs import Environment, EnvStore, prepare
from envs.building.context import Context
from envs.managers.conda.machine import this_machine
from envs.managers.conda.packages import Solution, solve
from envs.managers.conda.planning import plan
from tests.envs.conda.channel import (
    Channel,
    Package,
    conda_spec,
    library,
    pip_package,
    python_package,
)


@pytest.fixture(scope="session")
def python() -> Package:
    """The Python of the channel: the one that runs the tests."""
    return python_package()


@pytest.fixture(scope="session")
def base_channel(tmp_path_factory: pytest.TempPathFactory, python: Package) -> Channel:
    """Python, pip, and ``tiny`` of 2020 and of 2026; read-only for tests."""
    channel = Channel(tmp_path_factory.mktemp("channel"))
    python.write(channel.folder)
    pip_package(python).write(channel.folder)
    channel.add(
        library("tiny", "1.0", built="2020-01-01"), library("tiny", "2.0", built="2026-01-01")
    )
    return channel


@pytest.fixture
def channel(base_channel: Channel, tmp_path: Path) -> Channel:
    """A copy of the channel for a test to change."""
    return base_channel.copy(tmp_path / "channel")


@pytest.fixture
def store(launcher_home: Path) -> EnvStore:
    return EnvStore(launcher_home)


@pytest.fixture
def fresh_store(tmp_path: Path, launcher_home: Path) -> EnvStore:
    """A store without any package cache; what the machine is, is known."""
    this_machine(Context(home=launcher_home))
    (tmp_path / "home").mkdir()
    for known in launcher_home.glob("conda-machine-*.json"):
        shutil.copy(known, tmp_path / "home")
    return EnvStore(tmp_path / "home")


@pytest.fixture(autouse=True)
def settings_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever runs the tests may have settings for conda, and credentials for channels."""
    home = tmp_path / "user"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "RATTLER_CACHE_DIR"):
        monkeypatch.setenv(name, str(home))
    for name in ("CONDARC", "CONDA_CHANNEL_ALIAS", "CONDA_DEFAULT_CHANNELS", "RATTLER_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert not list(home.rglob("*rattler*")), "something was cached outside of the launcher's home"
    assert not (home / "pkgs").exists()


class Build:
    """The outcome of one build: the environment, and what was reported."""

    def __init__(self, environment: Environment, said: list[str]) -> None:
        self.environment = environment
        self.said = said

    @property
    def versions(self) -> dict[str, str]:
        return dict(self.environment.packages)


@pytest.fixture
def choose(store: EnvStore) -> Callable[..., Solution]:
    """What would be linked for channels and match specs; installs nothing."""

    def run(
        channels: str | list[str],
        *specs: str,
        store: EnvStore = store,
        offline: bool = False,
        **fields: Any,
    ) -> Solution:
        context = Context(home=store.home, offline=offline)
        return solve(plan(conda_spec(channels, *specs, **fields), context).wanted, context)

    return run


@pytest.fixture
def build(store: EnvStore) -> Iterator[Callable[..., Build]]:
    """Build the environment of channels and match specs; without a pip section unless given."""
    built: list[Environment] = []

    def run(
        channels: str | list[str],
        *specs: str,
        store: EnvStore = store,
        offline: bool | None = None,
        **fields: Any,
    ) -> Build:
        said: list[str] = []
        spec = conda_spec(channels, *specs, **fields)
        environment = prepare(spec, store=store, report=said.append, offline=offline)
        built.append(environment)
        return Build(environment, said)

    yield run
    for environment in built:
        if environment.mark is not None:
            environment.mark.release()
