"""The manager of virtual environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envs.building.context import Context, Report
from envs.managers.manager import BuildingManager, WrittenLockfile
from envs.managers.virtualenv.planning import VirtualenvPlan, plan
from envs.plan import Contents
from envs.spec import EnvSpec
from envs.store.manifest import Environment
from envs.store.store import EnvStore

if TYPE_CHECKING:
    from envs.pip.platforms import Platform


class VirtualenvManager(BuildingManager[VirtualenvPlan]):
    """Made by the virtualenv library, filled by uv."""

    name = "virtualenv"

    def plan(self, spec: EnvSpec, context: Context) -> VirtualenvPlan:
        return plan(spec, context)

    def build(self, plan: VirtualenvPlan, prefix: Path, context: Context) -> Contents:
        from envs.managers.virtualenv.building import build

        return build(plan, prefix, context)

    def environ(self, environment: Environment, warn: Report) -> dict[str, str]:
        return {**super().environ(environment, warn), "VIRTUAL_ENV": str(environment.path)}

    def write_lockfile(
        self,
        spec: EnvSpec,
        folder: Path,
        store: EnvStore,
        context: Context,
        platforms: Sequence[Platform] = (),
    ) -> WrittenLockfile:
        from envs.pip.lockfiles import PYLOCK, write_pylock

        planned = plan(replace(spec, lockfile=None), context)
        context.log.secrets.update(planned.pip.wanted.secrets)
        target = folder / PYLOCK
        resolution = write_pylock(planned.request, target, planned.interpreter, context, platforms)
        count = resolution.text.count("[[packages]]")
        return WrittenLockfile(target, count, resolution.as_of, resolution.note)

    def fill_wheelhouse(self, spec: EnvSpec, folder: Path, context: Context) -> list[Path]:
        from envs.managers.virtualenv.wheelhouse import fill

        return fill(plan(spec, context), folder, context)
