"""Environments made by the virtualenv library and filled by uv."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envs.context import Context
from envs.errors import EnvError
from envs.files import DISK_FULL, disk_full
from envs.interpreters import Interpreter, find_interpreter
from envs.lockfiles import Lock, check_fresh, install_lock, lock_hashes, read_lock
from envs.manifest import Contents
from envs.process import Completed, GuardedProcess, clean_environ
from envs.requirements import Requirements, flatten
from envs.resolution import Request, Resolution, install, resolve
from envs.spec import EnvSpec, hash_folder, key_of, normalize_name, requirement_name
from envs.uv import uv_error
from envs.wheelhouse import stored_list

_PINNED = re.compile(r"^[^;]*(==|@)")


@dataclass(frozen=True)
class VirtualenvPlan:
    """A virtual environment that could be built (see `envs.managers.Plan`).

    Attributes:
        interpreter: the base Python.
        wanted: all requirements, flattened.
        request: what is to be resolved.
        lockfile: the lockfile to install from, None where requirements are resolved.
        copied_packages: folders to copy into site-packages.
        canonical: what the key is the hash of.
    """

    interpreter: Interpreter
    wanted: Requirements
    request: Request
    lockfile: Path | None
    copied_packages: tuple[Path, ...]
    canonical: Mapping[str, Any]

    @property
    def requirements(self) -> tuple[str, ...]:
        return self.wanted.canonical

    def build(self, prefix: Path, context: Context) -> Contents:
        context.log.secrets.update(self.wanted.secrets)
        python = prefix / "bin" / "python"
        stored = stored_list(context.wheelhouse, key_of(self.canonical))
        # The two do not depend on each other: the environment is made while uv resolves.
        with _creation(prefix, self.interpreter, context) as creation:
            lock = None
            if self.lockfile is not None and stored is None:
                lock = read_lock(self.lockfile, self.interpreter, context)
                check_fresh(lock, self.request.lines, self.interpreter)
            resolution = stored or self.resolution(lock, context)
            _check_created(creation.wait(), context)
        if lock is not None:
            install_lock(lock, self.wanted.indexes, python, context)
        install(resolution, self.wanted.indexes, python, context)
        site_packages = _site_packages(prefix)
        _drop_unreadable_hook(site_packages, self.interpreter)
        copy_packages(self.copied_packages, site_packages, context)
        return Contents(
            python=str(python.relative_to(prefix)),
            python_version=self.interpreter.version,
            site_packages=str(site_packages.relative_to(prefix)),
            packages=installed_packages(site_packages),
            resolved=context.log.mask((lock.text if lock else "") + resolution.text),
            as_of="lock" if lock is not None else resolution.as_of,
            notes=(resolution.note,) if resolution.note else (),
        )

    def resolution(
        self, lock: Lock | None, context: Context, file_format: str = "requirements.txt"
    ) -> Resolution:
        """Return the resolution of the requirements, of those that a lock lacks if there is one."""
        if lock is None:
            return resolve(self.request, context, file_format)
        missing = [n for n in self.request.lines if requirement_name(n) not in {None, *lock.pins}]
        if not missing:
            return Resolution("", "lock")
        context.report(f"{lock.path.name} lacks {', '.join(missing)}: adding them")
        pins = [f"{name}=={version}" for name, version in lock.pins.items() if version]
        request = replace(
            self.request,
            lines=tuple(missing),
            constraints=(*self.request.constraints, *pins),
        )
        return resolve(request, context, file_format).without(lock.pins)


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
        "lockfile": lock_hashes(spec.lockfile) if spec.lockfile else None,
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    request = Request(
        lines=wanted.lines,
        constraints=wanted.constraints,
        indexes=wanted.indexes,
        python=interpreter.path,
        day=spec.resolution_date(),
        bound=bound,
        undated=undated,
    )
    return VirtualenvPlan(
        interpreter, wanted, request, spec.lockfile, spec.copied_packages, canonical
    )


def _creation(prefix: Path, interpreter: Interpreter, context: Context) -> GuardedProcess:
    """Start the making of an empty environment: uv fills it, so it needs no seed packages."""
    command = [sys.executable, "-I", "-m", "virtualenv", "--no-seed", "--no-vcs-ignore"]
    command += ["--python", interpreter.path, "--no-periodic-update", str(prefix)]
    # What virtualenv learns about interpreters stays in the launcher's home, and its own
    # settings files and variables are those of another user of it.
    own = {
        "VIRTUALENV_OVERRIDE_APP_DATA": str(context.home / "virtualenv"),
        "VIRTUALENV_CONFIG_FILE": os.devnull,
    }
    inherited = clean_environ()
    env = {name: v for name, v in inherited.items() if not name.startswith("VIRTUALENV_")}
    return GuardedProcess(command, log=context.log, env={**env, **own})


def _check_created(completed: Completed, context: Context) -> None:
    if completed.returncode != 0:
        raise uv_error(
            "error: " + (completed.lines[-1] if completed.lines else "virtualenv said nothing"),
            context,
            "the environment could not be created",
        )


def _site_packages(prefix: Path) -> Path:
    found = sorted(prefix.glob("lib/*/site-packages"))
    if len(found) != 1:
        raise EnvError(f"{prefix} has {len(found)} site-packages folders instead of one")
    return found[0]


def _drop_unreadable_hook(site_packages: Path, interpreter: Interpreter) -> None:
    """Remove virtualenv's start-up hook where the Python is too old to read it.

    It would print a traceback at every start. It guards pip against prefixes in distutils'
    settings files, and pip does not install here.
    """
    if tuple(map(int, interpreter.version.split(".")[:2])) < (3, 8):
        for name in ("_virtualenv.pth", "_virtualenv.py"):
            (site_packages / name).unlink(missing_ok=True)


def copy_packages(folders: tuple[Path, ...], site_packages: Path, context: Context) -> None:
    """Copy folders of pure Python packages into site-packages; EnvError where that fails."""
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


def installed_packages(site_packages: Path) -> dict[str, str]:
    """Return names (normalised) and versions of the distributions in a folder."""
    found = {}
    for path in sorted(site_packages.glob("*.dist-info")):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        found[normalize_name(name)] = version
    return found
