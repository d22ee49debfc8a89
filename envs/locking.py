"""Write lockfiles and fill wheelhouses: what is done with a plan besides building it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from envs.building.context import Context, Report, ignore
from envs.errors import EnvError
from envs.preparing import context_for
from envs.spec import EnvSpec
from envs.store.store import EnvStore


@dataclass(frozen=True)
class Locked:
    """A lockfile that was written.

    Attributes:
        path: the file.
        packages: how many packages it pins.
        as_of: "2020-09-01" or "today".
        note: why it is today's although a day was asked for, or None.
    """

    path: Path
    packages: int
    as_of: str
    note: str | None


def lock(
    spec: EnvSpec,
    folder: Path,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
) -> Locked:
    """Resolve a spec and write ``pylock.toml`` (conda: ``conda-lock.yml``) into ``folder``.

    A lockfile that the spec names is not read: it is what gets replaced. Raises EnvError.
    """
    store = store or EnvStore()
    context = context_for(store, report, offline=offline)
    if spec.manager == "conda":
        return _lock_conda(spec, folder, store, context)
    if spec.manager != "virtualenv":
        raise EnvError(
            f"environments of the manager {spec.manager} cannot be locked",
            hint="use --env-manager virtualenv or conda",
        )
    from envs.managers.virtualenv.planning import plan
    from envs.pip.lockfiles import PYLOCK, write_pylock

    planned = plan(replace(spec, lockfile=None), context)
    context.log.secrets.update(planned.pip.wanted.secrets)
    target = folder.absolute() / PYLOCK
    resolution = write_pylock(planned.request, target, planned.interpreter, context)
    count = resolution.text.count("[[packages]]")
    return Locked(target, count, resolution.as_of, resolution.note)


def _lock_conda(spec: EnvSpec, folder: Path, store: EnvStore, context: Context) -> Locked:
    from envs.managers.conda.lockfile import CONDA_LOCK
    from envs.managers.conda.lockfile import lock as write_conda_lock

    target = folder.absolute() / CONDA_LOCK
    written = write_conda_lock(spec, target, store, context)
    return Locked(target, written.packages, written.as_of, "; ".join(written.notes) or None)


def download(
    spec: EnvSpec,
    folder: Path,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
) -> list[Path]:
    """Fill a wheelhouse for a spec: a wheel of every package, hashes verified.

    `prepare` with ``wheelhouse=folder`` then needs no network. Returns the wheels (paths).
    Raises EnvError.
    """
    if spec.manager != "virtualenv":
        raise EnvError(
            f"there is no wheelhouse for the environment manager {spec.manager}",
            hint="use --env-manager virtualenv",
        )
    from envs.managers.virtualenv import wheelhouse
    from envs.managers.virtualenv.planning import plan

    context = context_for(store or EnvStore(), report, offline=offline)
    return wheelhouse.download(plan(spec, context), folder.absolute(), context)
