"""Write lockfiles and fill wheelhouses: what is done with a spec besides building it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.building.context import Report, ignore
from envs.managers.manager import WrittenLockfile
from envs.managers.registry import manager_of
from envs.pip.platforms import PLATFORMS
from envs.preparing import context_for
from envs.spec import EnvSpec
from envs.store.store import EnvStore


def write_lockfile(
    spec: EnvSpec,
    folder: Path,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
    platforms: Sequence[str] = (),
) -> WrittenLockfile:
    """Resolve a spec and write ``pylock.toml`` (conda: ``conda-lock.yml``) into ``folder``.

    A lockfile that the spec names is not read: it is what gets replaced.

    :param platforms: conda's names of those that it is for ("linux-64"); of none, this machine.
    :raises EnvError: it cannot be resolved or written.
    """
    store = store or EnvStore()
    context = context_for(store, report, offline=offline)
    manager = manager_of(spec.env_manager)
    manager.check()
    chosen = [PLATFORMS[name] for name in dict.fromkeys(platforms)]
    return manager.write_lockfile(spec, folder.absolute(), store, context, chosen)


def fill_wheelhouse(
    spec: EnvSpec,
    folder: Path,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
) -> list[Path]:
    """Put a wheel of every package of a spec into a folder, hashes verified.

    `envs.prepare` with ``wheelhouse=folder`` then needs no network.

    :returns: the wheels (paths).
    :raises EnvError: one cannot be had.
    """
    context = context_for(store or EnvStore(), report, offline=offline)
    manager = manager_of(spec.env_manager)
    manager.check()
    return manager.fill_wheelhouse(spec, folder.absolute(), context)
