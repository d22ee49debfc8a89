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
from envs.pip.wanted import PipRequirements, join
from envs.spec import EnvSpec, hash_folder, hash_lock
from envs.store.manifest import Contents

if TYPE_CHECKING:
    from envs.building.context import Context
    from envs.managers.conda.packages import Wanted

MISSING = "--env-manager conda needs the package py-rattler, which is not installed"
INSTALL_IT = "pip install 'mlmodel-launcher[conda]'"


@dataclass(frozen=True)
class Machine:
    """What packages are chosen for.

    Attributes:
        subdir: "linux-64".
        virtual_packages: name, version and build of what the machine itself has.
    """

    subdir: str
    virtual_packages: tuple[tuple[str, str, str], ...]

    def canonical(self) -> dict[str, Any]:
        """Return what goes into a key: the kernel's version is left out, it rarely decides."""
        matter = [row for row in self.virtual_packages if row[0] not in ("__linux", "__unix")]
        return {"subdir": self.subdir, "virtual_packages": [list(row) for row in matter]}


@dataclass(frozen=True)
class CondaPlan:
    """A conda environment that could be built (see `envs.managers.registry.Plan`).

    Attributes:
        channels: in order of priority.
        specs: match specs, Python's first.
        machine: what for.
        pip: the pip section and the server's requirements; its bound holds for builds as well.
        lockfile: the conda-lock.yml to install from, None where requirements are resolved.
        copied_packages: folders to copy into site-packages.
        canonical: what the key is the hash of.
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

    def build(self, prefix: Path, context: Context) -> Contents:
        from envs.managers.conda.building import build

        return build(self, prefix, context)


def plan(spec: EnvSpec, context: Context) -> CondaPlan:
    """Return the plan for a spec: channels and requirements read, the machine looked at.

    EnvError where a channel is none, a file is missing, or py-rattler is not installed.
    """
    rattler_folder()
    channels, specs = _channels_and_specs(spec)
    specs = (_python_spec(spec.python), *specs)
    machine = this_machine(context)
    pip = join(spec, spec.server_requirements)
    canonical = {
        "manager": "conda",
        **machine.canonical(),
        "channels": [channel.url for channel in channels],
        "specs": sorted(specs),
        **pip.canonical(),
        "lockfile": hash_lock(spec.lockfile) if spec.lockfile else None,
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


def rattler_folder() -> Path:
    """Return the folder that py-rattler is installed in, without importing it; EnvError if none."""
    import importlib.util

    found = importlib.util.find_spec("rattler")
    if found is None or found.origin is None:
        raise EnvError(MISSING, hint=INSTALL_IT)
    return Path(found.origin).parents[1]


def this_machine(context: Context) -> Machine:
    """Return what packages are chosen for here, found out once for a kernel and its drivers."""
    import json

    driver = Path("/proc/driver/nvidia/version")
    libc = "CS_GNU_LIBC_VERSION"
    state = {
        "system": list(os.uname()),
        "libc": os.confstr(libc) if libc in os.confstr_names else None,
        "driver": driver.read_text(encoding="utf-8") if driver.is_file() else None,
        "overrides": {k: v for k, v in os.environ.items() if k.startswith("CONDA_OVERRIDE_")},
    }
    path = context.home / "conda-machine-1.json"
    remembered = read_json(path)
    if remembered.get("state") != state:
        from envs.disk.files import write_atomically
        from envs.managers.conda.packages import call_rattler

        found = call_rattler({"action": "detect"}, context)
        remembered = {"state": state, **found}
        write_atomically(path, json.dumps(remembered, indent=1), optional=True)
    rows = tuple((str(n), str(v), str(b)) for n, v, b in remembered["virtual_packages"])
    return Machine(remembered["subdir"], rows)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where it is missing or damaged."""
    import json

    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


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
        import platform

        return "python=" + ".".join(platform.python_version_tuple()[:2])
    text = " ".join(wanted.split())
    return f"python={text}" if text[:1].isdigit() else f"python{text}"
