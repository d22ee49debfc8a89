"""Environments of conda packages, built without conda: py-rattler links, uv adds the rest.

What a ``conda.yaml`` means is conda's:
https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envs.conda_channels import Channel, read_channels
from envs.conda_lock import CondaLock, lock_resolution, read_conda_lock
from envs.conda_packages import Solution, Wanted, install, solve, this_machine
from envs.conda_pip import conda_constraints, find_linked, install_beside, resolve_beside
from envs.context import Context
from envs.errors import EnvError
from envs.interpreters import Interpreter, probe
from envs.manifest import Contents
from envs.process import read_output
from envs.requirements import Requirements, flatten
from envs.resolution import Request, Resolution
from envs.spec import EnvSpec, hash_file, hash_folder, normalize_name, requirement_name
from envs.virtualenv import copy_packages

_PINNED = re.compile(r"^[^;]*(==|@)")
_PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True)
class CondaPlan:
    """A conda environment that could be built (see `envs.managers.Plan`).

    Attributes:
        wanted: what is asked of the channels.
        pip: the pip section and the server's requirements, flattened.
        request: the same, for the resolver; its Python is not there yet.
        lockfile: the conda-lock.yml to install from, None where requirements are resolved.
        copied_packages: folders to copy into site-packages.
        canonical: what the key is the hash of.
    """

    wanted: Wanted
    pip: Requirements
    request: Request
    lockfile: Path | None
    copied_packages: tuple[Path, ...]
    canonical: Mapping[str, Any]

    @property
    def requirements(self) -> tuple[str, ...]:
        return (*self.wanted.specs, *self.pip.canonical)

    def build(self, prefix: Path, context: Context) -> Contents:
        context.log.secrets.update(self.pip.secrets)
        for channel in self.wanted.channels:
            context.log.secrets.update(channel.secrets())
        lock = None
        if self.lockfile is not None:
            lock = read_conda_lock(self.lockfile, self.wanted.machine.subdir)
            solution = Solution(lock.conda, dated=True)
        else:
            solution = self.solve(context)
        install(solution.packages, prefix, self.wanted, context, lockfile=self.lockfile)
        interpreter, site_packages = inspect(prefix, context)
        pip = self._add_pip(lock, interpreter, site_packages, context)
        copy_packages(self.copied_packages, site_packages, context)
        installed = find_linked(site_packages, interpreter, "").versions
        explicit = "".join(f"{package.explicit()}\n" for package in solution.packages)
        notes = (*solution.notes, *((pip.note,) if pip.note else ()))
        return Contents(
            python="bin/python",
            python_version=interpreter.version,
            site_packages=str(site_packages.relative_to(prefix)),
            packages={**solution.versions, **installed},
            resolved=context.log.mask(f"{explicit}{pip.text}"),
            as_of="lock" if lock else pip.as_of if solution.dated else "today",
            notes=notes,
        )

    def solve(self, context: Context) -> Solution:
        """Return the conda packages; those that pip's section pins have that version if one can."""
        constraints = conda_constraints(self.request.lines)
        return solve(replace(self.wanted, constraints=constraints), context)

    def _add_pip(
        self,
        lock: CondaLock | None,
        interpreter: Interpreter,
        site_packages: Path,
        context: Context,
    ) -> Resolution:
        """Install the pip section: from the lock, then what it lacks; else resolved."""
        request = replace(self.request, python=str(site_packages.parents[2] / "bin" / "python"))
        if lock is None:
            linked = find_linked(site_packages, interpreter, "conda installs")
            resolution = resolve_beside(linked, request, context)
            install_beside(resolution, request, context)
            return resolution
        locked = lock_resolution(lock)
        install_beside(locked, request, context)
        linked = find_linked(site_packages, interpreter, f"{lock.path.name} has")
        linked.check(request.lines)
        missing = tuple(
            line
            for line in request.lines
            if (name := requirement_name(line)) and name not in linked.distributions
        )
        if not missing:
            return locked
        context.report(f"{lock.path.name} lacks {', '.join(missing)}: adding them")
        added = resolve_beside(linked, replace(request, lines=missing), context)
        install_beside(added, request, context)
        return replace(locked, text=locked.text + added.text)


def plan(spec: EnvSpec, context: Context) -> CondaPlan:
    """Return the plan for a spec: channels and requirements read, the machine looked at.

    EnvError where a channel is none, a file is missing, or py-rattler is not installed.
    """
    channels, specs = _channels_and_specs(spec)
    python = _python_spec(spec.python)
    machine = this_machine(context)
    pip = _pip_requirements(spec)
    named = {requirement_name(line) for line in pip.canonical if line not in _server_lines(spec)}
    undated = tuple(sorted({normalize_name(name) for name in spec.undated} - named))
    bound = spec.upload_bound()
    day = spec.resolution_date()
    minor = re.fullmatch(r"python\s*=*\s*(\d+\.\d+)\.\d+", python)
    wanted = Wanted(
        channels=channels,
        specs=(python, *specs),
        # No channel has every patch release; the nearest is better than no environment.
        instead={python: f"python={minor[1]}"} if minor else {},
        machine=machine,
        bound=int(bound.timestamp() * 1000) if bound else None,
        day=day.isoformat() if day else None,
    )
    request = Request(
        lines=pip.lines,
        constraints=pip.constraints,
        indexes=pip.indexes,
        python="",
        day=day,
        bound=bound,
        undated=undated,
    )
    canonical = {
        "manager": "conda",
        **machine.canonical(),
        "channels": [channel.url for channel in channels],
        "specs": sorted(wanted.specs),
        "requirements": pip.canonical,
        "constraints": pip.canonical_constraints,
        "indexes": pip.indexes.canonical(os.environ),
        "upload_bound": bound.isoformat() if bound else None,
        "undated": undated,
        "lockfile": _lock_hash(spec.lockfile),
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    return CondaPlan(wanted, pip, request, spec.lockfile, spec.copied_packages, canonical)


def inspect(prefix: Path, context: Context) -> tuple[Interpreter, Path]:
    """Return an environment's Python and its site-packages folder; EnvError if it does not run."""
    python = str(prefix / "bin" / "python")
    interpreter = probe(python, context)
    code, output = read_output([python, "-I", "-c", _PURELIB], log=context.log)
    if interpreter is None or code != 0:
        raise context.log.error(
            "the Python of the conda packages does not run on this machine",
            "see the log; the channels may be for another platform",
        )
    return interpreter, Path(output.strip())


def _channels_and_specs(spec: EnvSpec) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
    """Return the channels, and match specs in one spelling that name channels by URL.

    ``channel::name`` adds its channel after the others. Conda gives every Python a pip.
    """
    if not spec.conda_channels:
        raise EnvError("the conda environment names no channels", hint="add them to conda.yaml")
    names = list(spec.conda_channels)
    specs = []
    for text in spec.conda_dependencies:
        channel, separator, rest = text.rpartition("::")
        if separator:
            names.append(channel)
            (found,) = read_channels([channel], spec.base_dir, os.environ)[:1]
            rest = f"{found.url}::{rest}"
        specs.append(" ".join(rest.split()))
    if not any(re.match(r"pip(?![\w.-])", text) for text in specs):
        specs.append("pip")
    channels = read_channels(names, spec.base_dir, os.environ)
    if not channels:
        raise EnvError("the conda environment names no channels", hint="add them to conda.yaml")
    return channels, tuple(dict.fromkeys(specs))


def _python_spec(wanted: str | None) -> str:
    """Return the match spec for a version, or for what follows ``python`` in a conda.yaml."""
    if wanted is None:
        return "python=" + ".".join(platform.python_version_tuple()[:2])
    text = " ".join(wanted.split())
    return f"python={text}" if text[:1].isdigit() else f"python{text}"


def _server_lines(spec: EnvSpec) -> frozenset[str]:
    return frozenset(flatten(spec.server_requirements, spec.base_dir).canonical)


def _pip_requirements(spec: EnvSpec) -> Requirements:
    """Return the pip section with the server's requirements, but for what the model pins."""
    model = flatten(spec.requirements, spec.base_dir)
    pinned = {requirement_name(line) for line in model.canonical if _PINNED.match(line)}
    added = [line for line in spec.server_requirements if requirement_name(line) not in pinned]
    return flatten([*spec.requirements, *added], spec.base_dir)


def _lock_hash(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return hash_file(path)
    except OSError as error:
        raise EnvError(f"the lockfile {path} cannot be read: {error.strerror}") from error
