"""The manager of environments of conda packages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envs.building.context import Context, Report
from envs.managers.conda.planning import CondaPlan, plan
from envs.managers.conda.rattler import rattler_folder
from envs.managers.manager import BuildingManager, WrittenLockfile
from envs.plan import Contents
from envs.spec import EnvSpec
from envs.store.manifest import Environment
from envs.store.store import EnvStore

if TYPE_CHECKING:
    from envs.pip.platforms import Platform


class CondaManager(BuildingManager[CondaPlan]):
    """Solved and linked by py-rattler (the extra ``conda``), the pip section filled by uv."""

    name = "conda"
    uses_conda_yaml = True

    def check(self) -> None:
        rattler_folder()

    def plan(self, spec: EnvSpec, context: Context) -> CondaPlan:
        return plan(spec, context)

    def build(self, plan: CondaPlan, prefix: Path, context: Context) -> Contents:
        from envs.managers.conda.building import build

        return build(plan, prefix, context)

    def environ(self, environment: Environment, warn: Report) -> dict[str, str]:
        from envs.managers.conda.activation import activated_environ

        variables = super().environ(environment, warn)
        for name in [name for name in variables if name.startswith("R_")]:
            del variables[name]
        # Where R looks for the packages that a user has installed for their own.
        variables["R_LIBS_USER"] = os.devnull
        return activated_environ(environment.path, variables, warn)

    def write_lockfile(
        self,
        spec: EnvSpec,
        folder: Path,
        store: EnvStore,
        context: Context,
        platforms: Sequence[Platform] = (),
    ) -> WrittenLockfile:
        from envs.managers.conda.locking import write_conda_lockfile

        return write_conda_lockfile(spec, folder, store, context, platforms)

    def prune(
        self, home: Path, prefixes: Iterable[Path], older_than: float | None, dry_run: bool
    ) -> Iterator[tuple[str, str, int]]:
        from envs.managers.conda.cache import prune_cache

        return prune_cache(home, prefixes, older_than, dry_run)
