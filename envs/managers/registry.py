"""The interface that environment managers stand behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from envs.building.context import Context
from envs.errors import EnvError
from envs.spec import EnvSpec
from envs.store.manifest import Contents


class Plan(Protocol):
    """An environment that could be built: all decisions taken, nothing written.

    Attributes:
        canonical: JSON values: everything that decides the content, without credentials and
            without paths of the model. The key is its hash.
        requirements: the requirement lines, for people; credentials removed.
    """

    @property
    def canonical(self) -> Mapping[str, Any]: ...

    @property
    def requirements(self) -> tuple[str, ...]: ...

    def build(self, prefix: Path, context: Context) -> Contents:
        """Fill ``prefix`` (absent; its parent is there, and private to this build).

        Reports its steps and logs its commands through the context; commands run with
        `envs.building.process`, so that they die with the launcher. Raises EnvError. Need not
        clean up: the store removes what a failed build leaves.
        """
        ...


class Manager(Protocol):
    """A way to make environments: a module with this one function."""

    def plan(self, spec: EnvSpec, context: Context) -> Plan:
        """Return the plan for a spec; reads the files that it names. Raises EnvError."""
        ...


def manager_of(name: str) -> Manager:
    """Return the manager of a name that `EnvSpec` accepts; its module is imported here."""
    if name == "virtualenv":
        from envs.managers.virtualenv import planning as virtualenv

        return virtualenv
    if name == "conda":
        from envs.managers.conda import planning as conda

        return conda
    raise EnvError(f"there is no environment manager {name}", hint="use virtualenv or conda")
