"""Environments made by the virtualenv library and filled by uv: what they are made of.

Read at every start, so it imports little; how they are made is in `envs.virtualenv_building`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import EnvError
from envs.files import DISK_FULL, disk_full
from envs.interpreters import Interpreter, find_interpreter
from envs.manifest import Contents
from envs.requirements import Requirements, flatten
from envs.spec import EnvSpec, hash_folder, hash_lock, normalize_name, requirement_name

if TYPE_CHECKING:
    from datetime import date, datetime

    from envs.context import Context
    from envs.resolution import Request

_PINNED = re.compile(r"^[^;]*(==|@)")


@dataclass(frozen=True)
class VirtualenvPlan:
    """A virtual environment that could be built (see `envs.managers.Plan`).

    Attributes:
        interpreter: the base Python.
        wanted: all requirements, flattened.
        day: the day to resolve as of, None for today.
        bound: the moment (UTC) up to which uploads count, None for no bound.
        undated: packages that the bound does not hold for.
        lockfile: the lockfile to install from, None where requirements are resolved.
        copied_packages: folders to copy into site-packages.
        canonical: what the key is the hash of.
    """

    interpreter: Interpreter
    wanted: Requirements
    day: date | None
    bound: datetime | None
    undated: tuple[str, ...]
    lockfile: Path | None
    copied_packages: tuple[Path, ...]
    canonical: Mapping[str, Any]

    @property
    def requirements(self) -> tuple[str, ...]:
        return self.wanted.canonical

    @property
    def request(self) -> Request:
        """What is to be resolved."""
        from envs.resolution import Request

        return Request(
            lines=self.wanted.lines,
            constraints=self.wanted.constraints,
            indexes=self.wanted.indexes,
            python=self.interpreter.path,
            day=self.day,
            bound=self.bound,
            undated=self.undated,
        )

    def build(self, prefix: Path, context: Context) -> Contents:
        from envs.virtualenv_building import build

        return build(self, prefix, context)


def plan(spec: EnvSpec, context: Context) -> VirtualenvPlan:
    """Return the plan for a spec: requirements read, interpreter found.

    What the model pins wins: a build or server requirement for a package that the model pins
    itself is left out, and such a package is never newer than the model's day allows.
    """
    interpreter = find_interpreter(spec.python, context)
    model = flatten(spec.requirements, spec.base_dir)
    pinned = {requirement_name(line) for line in model.canonical if _PINNED.match(line)}
    named = {requirement_name(line) for line in model.canonical}
    # A lockfile says itself what else there is to be: nothing that builds comes with it.
    build = () if spec.lockfile else spec.build_requirements
    added = [
        line for line in (*build, *spec.server_requirements) if requirement_name(line) not in pinned
    ]
    wanted = flatten([*spec.requirements, *added], spec.base_dir)
    undated = tuple(sorted({normalize_name(name) for name in spec.undated} - named))
    bound = spec.upload_bound()
    canonical = {
        "manager": "virtualenv",
        "python": [interpreter.version, interpreter.implementation],
        "platform": [interpreter.platform, interpreter.abi],
        "requirements": wanted.canonical,
        "constraints": wanted.canonical_constraints,
        "indexes": wanted.indexes.canonical(os.environ),
        "upload_bound": bound.isoformat() if bound else None,
        "undated": undated,
        "lockfile": hash_lock(spec.lockfile) if spec.lockfile else None,
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    return VirtualenvPlan(
        interpreter=interpreter,
        wanted=wanted,
        day=spec.resolution_date(),
        bound=bound,
        undated=undated,
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
