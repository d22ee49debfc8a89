"""From a spec to an environment: the one way in."""

from __future__ import annotations

from pathlib import Path

from envs.building.context import Context, Report, ignore, is_offline
from envs.building.log import BuildLog
from envs.managers.manager import Description
from envs.managers.registry import manager_of
from envs.spec import EnvSpec
from envs.store.manifest import Environment
from envs.store.store import DISCOVERY_LOG, EnvStore


def prepare(
    spec: EnvSpec,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
    python_downloads: bool = True,
    wheelhouse: Path | None = None,
) -> Environment:
    """Return the environment of a spec, reused where it is there, else built.

    The environment is marked as in use from before this returns, see `Environment.in_use`.
    Interrupted by an exception (KeyboardInterrupt, or any that a signal handler raises), all
    commands are ended and nothing is left behind.

    :param report: gets one line (str) a step.
    :param offline: never touch a network; None stands for ``LAUNCHER_OFFLINE=1``.
    :param python_downloads: whether uv may install a Python that is missing.
    :param wheelhouse: a folder of distributions to build from instead of any index.
    :raises EnvError: it cannot be built, or its manager lacks something.
    """
    store = store or EnvStore()
    context = context_for(
        store,
        report,
        offline=offline,
        python_downloads=python_downloads,
        wheelhouse=wheelhouse,
    )
    return manager_of(spec.env_manager).prepare(spec, store, context)


def describe(
    spec: EnvSpec, *, store: EnvStore | None = None, offline: bool | None = None
) -> Description:
    """Return what `prepare` would do, building and downloading nothing.

    :raises EnvError: the spec cannot be read, or its Python is not there.
    """
    store = store or EnvStore()
    context = context_for(store, ignore, offline=offline, python_downloads=False)
    return manager_of(spec.env_manager).describe(spec, store, context)


def environ(environment: Environment, *, warn: Report = ignore) -> dict[str, str]:
    """Return all variables of a process in an environment, cleaned of other environments.

    :param warn: gets one line for each thing of the environment that failed.
    """
    return manager_of(environment.env_manager).environ(environment, warn)


def context_for(
    store: EnvStore,
    report: Report,
    *,
    offline: bool | None = None,
    python_downloads: bool = True,
    wheelhouse: Path | None = None,
) -> Context:
    """Return the context of one call; ``offline`` None stands for ``LAUNCHER_OFFLINE``."""
    return Context(
        home=store.home,
        report=report,
        log=BuildLog(store.build_log(DISCOVERY_LOG)),
        offline=is_offline(offline),
        python_downloads=python_downloads,
        wheelhouse=wheelhouse and wheelhouse.absolute(),
    )
