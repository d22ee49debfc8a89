"""Environments of conda packages, built without conda: what they are made of.

What a ``conda.yaml`` means is conda's:
https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html

Read at every start, so it imports little; how they are made is in `building`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import EnvError
from envs.managers.conda.channels import Channel, read_channels
from envs.managers.conda.machine import Machine, this_machine
from envs.pip.wanted import PipRequirements, join
from envs.spec import EnvSpec, hash_folder, hash_lockfile

if TYPE_CHECKING:
    from envs.building.context import Context
    from envs.managers.conda.packages import Wanted


@dataclass(frozen=True)
class CondaPlan:
    """A conda environment that could be built (see `envs.plan.Plan`).

    :param channels: in order of priority.
    :param specs: match specs, Python's first.
    :param machine: what for.
    :param pip: the pip section and the server's requirements; its bound holds for builds as well.
    :param lockfile: the conda-lock.yml to install from, None where requirements are resolved.
    :param copied_packages: folders to copy into site-packages.
    :param canonical: what the key is the hash of.
    """

    channels: tuple[Channel, ...]
    specs: tuple[str, ...]
    machine: Machine
    pip: PipRequirements
    lockfile: Path | None
    copied_packages: tuple[Path, ...]
    canonical: Mapping[str, Any]

    @property
    def requirements(self) -> tuple[str, ...]:
        return (*self.specs, *self.pip.wanted.canonical)

    @property
    def wanted(self) -> Wanted:
        """What is asked of the channels."""
        from envs.managers.conda.packages import Wanted
        from envs.managers.conda.pip_section import conda_constraints

        # No channel has every patch release; the nearest is better than no environment.
        minor = re.fullmatch(r"python\s*=*\s*(\d+\.\d+)\.\d+", self.specs[0])
        return Wanted(
            channels=self.channels,
            specs=self.specs,
            instead={self.specs[0]: f"python={minor[1]}"} if minor else {},
            machine=self.machine,
            bound=int(self.pip.bound.timestamp() * 1000) if self.pip.bound else None,
            day=self.pip.day.isoformat() if self.pip.day else None,
            constraints=conda_constraints(self.pip.wanted.lines),
        )

    def secrets(self) -> set[str]:
        """Return the credentials in channels and requirements, for masking."""
        return set(self.pip.wanted.secrets).union(*(channel.secrets() for channel in self.channels))


def plan(spec: EnvSpec, context: Context, machine: Machine | None = None) -> CondaPlan:
    """Return the plan for a spec: channels and requirements read, the machine looked at.

    :param machine: what for; None for this machine.
    :raises EnvError: a channel is none, a file is missing, or py-rattler is not installed.
    """
    channels, specs = _channels_and_specs(spec)
    specs = (_python_spec(spec.python), *specs)
    machine = machine or this_machine(context)
    pip = join(spec, spec.server_requirements)
    canonical = {
        "manager": "conda",
        **machine.canonical(),
        "channels": [channel.url for channel in channels],
        "specs": sorted(specs),
        **pip.canonical(),
        "lockfile": hash_lockfile(spec.lockfile) if spec.lockfile else None,
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    return CondaPlan(
        channels=channels,
        specs=specs,
        machine=machine,
        pip=pip,
        lockfile=spec.lockfile,
        copied_packages=spec.copied_packages,
        canonical=canonical,
    )


def _channels_and_specs(spec: EnvSpec) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
    """Return the channels, and match specs in one spelling that name channels by URL.

    ``channel::name`` adds its channel after the others. Conda gives every Python a pip.
    """
    if not spec.conda_channels:
        raise EnvError("The conda environment names no channels.", hint="Add them to conda.yaml.")
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
        raise EnvError("The conda environment names no channels.", hint="Add them to conda.yaml.")
    return channels, tuple(dict.fromkeys(specs))


def _python_spec(wanted: str | None) -> str:
    """Return the match spec for a version, or for what follows ``python`` in a conda.yaml."""
    if wanted is None:
        import platform

        return "python=" + ".".join(platform.python_version_tuple()[:2])
    text = " ".join(wanted.split())
    return f"python={text}" if text[:1].isdigit() else f"python{text}"
