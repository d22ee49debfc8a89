"""The door that environment managers stand behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from envs.building.context import Context, Report
from envs.building.environ import clean_environ
from envs.errors import EnvError
from envs.plan import Contents, Plan
from envs.spec import EnvSpec, key_of
from envs.store.manifest import Environment
from envs.store.store import EnvStore

if TYPE_CHECKING:
    from envs.pip.platforms import Platform

PlanT = TypeVar("PlanT", bound=Plan)


class Description(NamedTuple):
    """What `Manager.prepare` would make of a spec.

    :param key: the environment's key.
    :param env_manager: the name of its manager.
    :param path: where it is or would be.
    :param requirements: its requirement lines in normal form, credentials removed.
    :param is_built: whether it is there, complete.
    :param inputs: what the key stands for (JSON values), credentials removed.
    :param packages: the names and versions of what is in it; None where it is not built.
    """

    key: str
    env_manager: str
    path: Path
    requirements: tuple[str, ...]
    is_built: bool
    inputs: Mapping[str, Any]
    packages: Mapping[str, str] | None


class WrittenLockfile(NamedTuple):
    """A lockfile that was written.

    :param path: the file.
    :param packages: how many packages it pins.
    :param as_of: "2020-09-01" or "today".
    :param note: why it is today's although a day was asked for, and what the file cannot hold;
        one line, or None.
    """

    path: Path
    packages: int
    as_of: str
    note: str | None


class Manager(ABC):
    """A way to come by environments, registered by name in `envs.managers.registry`.

    Making one costs nothing: what is slow to import is imported by the methods.
    """

    name: str
    # Whether what it reads of a model is its conda.yaml, else its requirements.
    uses_conda_yaml = False

    def check(self) -> None:  # noqa: B027 - most need nothing
        """Find out, before anything is fetched or built, whether all it needs is installed.

        :raises EnvError: something is not; says how to install it.
        """

    @abstractmethod
    def prepare(self, spec: EnvSpec, store: EnvStore, context: Context) -> Environment:
        """Return the environment of a spec, reused where it is there, marked as in use.

        :raises EnvError: it cannot be had.
        """

    @abstractmethod
    def describe(self, spec: EnvSpec, store: EnvStore, context: Context) -> Description:
        """Return what ``prepare`` would do; builds nothing.

        :raises EnvError: the spec cannot be read, or its Python is not there.
        """

    def environ(self, environment: Environment, warn: Report) -> dict[str, str]:
        """Return all variables of a process in an environment.

        :param warn: gets one line for each thing of the environment that failed.
        """
        return clean_environ(python=environment.python)

    def write_lockfile(
        self,
        spec: EnvSpec,
        folder: Path,
        store: EnvStore,
        context: Context,
        platforms: Sequence[Platform] = (),
    ) -> WrittenLockfile:
        """Resolve a spec and write its lockfile into a folder (absolute).

        :param platforms: what it is for; of none, this machine.
        :raises EnvError: it cannot be resolved, or this manager has no lockfiles.
        """
        raise EnvError(
            f"Environments of the manager {self.name} cannot be locked.",
            hint="Use --env-manager virtualenv or conda.",
        )

    def fill_wheelhouse(self, spec: EnvSpec, folder: Path, context: Context) -> list[Path]:
        """Put a wheel of every package of a spec into a folder (absolute); return the wheels.

        :raises EnvError: one cannot be had, or this manager builds from no wheelhouse.
        """
        raise EnvError(
            f"There is no wheelhouse for the environment manager {self.name}.",
            hint="Use --env-manager virtualenv.",
        )

    def prune(
        self, home: Path, prefixes: Iterable[Path], older_than: float | None, dry_run: bool
    ) -> Iterator[tuple[str, str, int]]:
        """Remove what this manager has cached below ``home`` and no environment needs.

        :param prefixes: those of the environments that stay.
        :param older_than: seconds after which what may be needed again goes too, None for never.
        :returns: what goes, or with ``dry_run`` would go: what, why, its bytes.
        """
        return iter(())


class BuildingManager(Manager, Generic[PlanT]):
    """A manager whose environments are built into the store, once each.

    To add one: a plan (see `envs.plan.Plan`), ``plan``, ``build``, and its registration.
    """

    @abstractmethod
    def plan(self, spec: EnvSpec, context: Context) -> PlanT:
        """Return the plan for a spec; reads the files that it names, and writes nothing.

        :raises EnvError: one cannot be read, or a Python is missing.
        """

    @abstractmethod
    def build(self, plan: PlanT, prefix: Path, context: Context) -> Contents:
        """Fill ``prefix`` (absent; its parent is there, and private to this build).

        Reports its steps and logs its commands through the context; commands run with
        `envs.building.process`, so that they die with the launcher. Need not clean up: the
        store removes what a failed build leaves.

        :raises EnvError: it cannot be built.
        """

    def prepare(self, spec: EnvSpec, store: EnvStore, context: Context) -> Environment:
        self.check()
        plan = self.plan(spec, context)
        return store.get_or_build(plan, partial(self.build, plan), context)

    def describe(self, spec: EnvSpec, store: EnvStore, context: Context) -> Description:
        self.check()
        plan = self.plan(spec, context)
        key = key_of(plan.canonical)
        found = store.find(key)
        if found is not None and found.mark is not None:
            found.mark.release()
        path = store.folder(key) / "env"
        packages = found.packages if found is not None else None
        is_built = found is not None
        return Description(
            key, self.name, path, plan.requirements, is_built, plan.canonical, packages
        )
