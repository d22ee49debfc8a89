"""Environments made by the virtualenv library and filled by uv: what they are made of.

Read at every start, so it imports little; how they are made is in `building`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.building.interpreters import Interpreter, find_interpreter
from envs.disk.files import DISK_FULL, disk_full
from envs.errors import EnvError
from envs.pip.wanted import PipRequirements, join
from envs.spec import EnvSpec, hash_folder, hash_lock
from envs.store.manifest import Contents

if TYPE_CHECKING:
    from envs.building.context import Context
    from envs.pip.resolution import Request


@dataclass(frozen=True)
class VirtualenvPlan:
    """A virtual environment that could be built (see `envs.managers.registry.Plan`).

    Attributes:
        interpreter: the base Python.
        pip: all requirements.
        lockfile: the lockfile to install from, None where requirements are resolved.
        copied_packages: folders to copy into site-packages.
        canonical: what the key is the hash of.
    """

    interpreter: Interpreter
    pip: PipRequirements
    lockfile: Path | None
    copied_packages: tuple[Path, ...]
    canonical: Mapping[str, Any]

    @property
    def requirements(self) -> tuple[str, ...]:
        return self.pip.wanted.canonical

    @property
    def request(self) -> Request:
        """What is to be resolved."""
        return self.pip.request(self.interpreter.path)

    def build(self, prefix: Path, context: Context) -> Contents:
        from envs.managers.virtualenv.building import build

        return build(self, prefix, context)


def plan(spec: EnvSpec, context: Context) -> VirtualenvPlan:
    """Return the plan for a spec: requirements read, interpreter found."""
    interpreter = find_interpreter(spec.python, context)
    # A lockfile says itself what else there is to be: nothing that builds comes with it.
    build = () if spec.lockfile else spec.build_requirements
    pip = join(spec, (*build, *spec.server_requirements))
    canonical = {
        "manager": "virtualenv",
        "python": [interpreter.version, interpreter.implementation],
        "platform": [interpreter.platform, interpreter.abi],
        **pip.canonical(),
        "lockfile": hash_lock(spec.lockfile) if spec.lockfile else None,
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    return VirtualenvPlan(
        interpreter=interpreter,
        pip=pip,
        lockfile=spec.lockfile,
        copied_packages=spec.copied_packages,
        canonical=canonical,
    )


def copy_packages(folders: tuple[Path, ...], site_packages: Path, context: Context) -> None:
    """Copy folders of pure Python packages into site-packages; EnvError where that fails."""
    import shutil

    for folder in folders:
        context.report(f"copying {folder.name} into site-packages")
        try:
            shutil.copytree(
                folder, site_packages / folder.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        except OSError as error:
            if error.errno in DISK_FULL:
                raise disk_full(context.home) from error
            raise EnvError(
                f"{folder.name} could not be copied into the environment: {error}"
            ) from error
