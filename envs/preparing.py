"""From a spec to an environment: the one way in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from envs.building.context import Context, Report, ignore
from envs.building.log import BuildLog
from envs.spec import EnvSpec, key_of
from envs.store.manifest import Environment
from envs.store.store import DISCOVERY_LOG, EnvStore


@dataclass(frozen=True)
class Description:
    """What `prepare` would make of a spec.

    Attributes:
        key: the environment's key.
        manager: "virtualenv", "conda" or "local".
        path: where it is or would be.
        requirements: its requirement lines in normal form, credentials removed.
        is_built: whether it is there, complete.
    """

    key: str
    manager: str
    path: Path
    requirements: tuple[str, ...]
    is_built: bool


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

    ``report`` gets one line (str) a step. ``offline`` (None: ``LAUNCHER_OFFLINE=1``) never
    touches a network. ``python_downloads`` lets uv install a Python that is missing.
    ``wheelhouse`` is a folder of distributions to build from instead of any index.

    The environment is marked as in use from before this returns, see `Environment.in_use`.
    Interrupted by an exception (KeyboardInterrupt, or any that a signal handler raises), all
    commands are ended and nothing is left behind. Raises EnvError where it cannot be built.
    """
    if spec.manager == "local":
        from envs.managers.local import local_environment

        return local_environment(spec)
    from envs.managers.registry import manager_of

    store = store or EnvStore()
    context = context_for(
        store,
        report,
        offline=offline,
        python_downloads=python_downloads,
        wheelhouse=wheelhouse,
    )
    plan = manager_of(spec.manager).plan(spec, context)
    return store.get_or_build(plan, context)


def describe(
    spec: EnvSpec, *, store: EnvStore | None = None, offline: bool | None = None
) -> Description:
    """Return what `prepare` would do, building and downloading nothing. Raises EnvError."""
    store = store or EnvStore()
    if spec.manager == "local":
        from envs.managers.local import local_environment
        from envs.pip.requirements_file import flatten

        environment = local_environment(spec)
        lines = flatten([*spec.requirements, *spec.server_requirements], spec.base_dir).canonical
        return Description(environment.key, "local", environment.path, lines, True)
    from envs.managers.registry import manager_of

    context = context_for(store, ignore, offline=offline, python_downloads=False)
    plan = manager_of(spec.manager).plan(spec, context)
    key = key_of(plan.canonical)
    found = store.find(key)
    if found is not None and found.mark is not None:
        found.mark.release()
    path = store.folder(key) / "env"
    return Description(key, spec.manager, path, plan.requirements, found is not None)


def context_for(
    store: EnvStore,
    report: Report,
    *,
    offline: bool | None = None,
    python_downloads: bool = True,
    wheelhouse: Path | None = None,
) -> Context:
    """Return the context of one call; ``offline`` None stands for ``LAUNCHER_OFFLINE``."""
    if offline is None:
        offline = os.environ.get("LAUNCHER_OFFLINE", "").lower() in ("1", "true", "yes")
    return Context(
        home=store.home,
        report=report,
        log=BuildLog(store.build_log(DISCOVERY_LOG)),
        offline=offline,
        python_downloads=python_downloads,
        wheelhouse=wheelhouse and wheelhouse.absolute(),
    )
