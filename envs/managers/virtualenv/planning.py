"""Environments made by the virtualenv library and filled by uv: what they are made of.

Read at every start, so it imports little; how they are made is in `building`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs.building.interpreters import Interpreter, find_interpreter
from envs.pip.wanted import PipRequirements, join
from envs.spec import EnvSpec, hash_folder, hash_lockfile

if TYPE_CHECKING:
    from envs.building.context import Context
    from envs.pip.resolution import Request


class VirtualenvPlan(NamedTuple):
    """A virtual environment that could be built (see `envs.plan.Plan`).

    :param interpreter: the base Python.
    :param pip: all requirements.
    :param lockfile: the lockfile to install from, None where requirements are resolved.
    :param copied_packages: folders to copy into site-packages.
    :param canonical: what the key is the hash of.
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
        "lockfile": hash_lockfile(spec.lockfile) if spec.lockfile else None,
        "copied_packages": [[path.name, hash_folder(path)] for path in spec.copied_packages],
    }
    return VirtualenvPlan(
        interpreter=interpreter,
        pip=pip,
        lockfile=spec.lockfile,
        copied_packages=spec.copied_packages,
        canonical=canonical,
    )
