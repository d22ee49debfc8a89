"""Write a conda-lock.yml: of what is really in the environment, since it is built first.

For other platforms nothing of an environment can be run: there conda's packages are linked into a
folder, which shows what the pip section finds, and what it needs is resolved for that platform.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import yaml
from packaging.pylock import Package
from packaging.requirements import Requirement

from envs.building.context import Context
from envs.building.interpreters import Interpreter
from envs.disk.files import write_atomically
from envs.errors import EnvError
from envs.managers.conda.building import build, inspect
from envs.managers.conda.lockfile import CONDA_LOCK, PipPackage
from envs.managers.conda.machine import machine_of
from envs.managers.conda.packages import CondaPackage, Solution, install, solve
from envs.managers.conda.pip_section import Linked, find_linked, resolve_beside
from envs.managers.conda.planning import CondaPlan, plan
from envs.managers.manager import WrittenLockfile
from envs.pip.platforms import Platform
from envs.pip.pylock import Archive, choose, load_pylock, marker_environment
from envs.pip.resolution import Request
from envs.pip.uv import work_folder
from envs.spec import EnvSpec, normalize_name, requirement_name
from envs.store.manifest import Environment
from envs.store.store import EnvStore


def write_conda_lockfile(
    spec: EnvSpec,
    folder: Path,
    store: EnvStore,
    context: Context,
    platforms: Sequence[Platform] = (),
) -> WrittenLockfile:
    """Write the conda-lock.yml of a spec's environment into a folder.

    The environment is built (or reused) first. A lockfile that the spec names is not read. The
    result's note says what the build had to say, and which packages such a file cannot hold
    (from version control, or from a file or folder of the model): those are resolved again at
    every build.

    :param platforms: what it is for instead of this machine, of which then nothing decides; no
        environment is built.
    :raises EnvError: it cannot be built, or the file cannot be written.
    """
    spec = replace(spec, lockfile=None)
    target = folder / CONDA_LOCK
    if platforms:
        return _write_for(platforms, spec, target, context)
    planned = plan(spec, context)
    environment = store.get_or_build(planned, partial(build, planned), context)
    with environment.in_use():
        rows, left_out = _rows(planned, environment, context)
        _write(target, [planned], rows, context)
    note = "; ".join((*environment.notes, *left_out)) or None
    return WrittenLockfile(target, len(rows), str(environment.as_of), note)


def _write_for(
    platforms: Sequence[Platform], spec: EnvSpec, target: Path, context: Context
) -> WrittenLockfile:
    plans, rows, days = [], [], set()
    notes: dict[str, None] = {}
    for platform in platforms:
        planned = plan(spec, context, machine_of(platform))
        context.log.secrets.update(planned.secrets())
        context.report(f"{platform.name} ({platform.floor} or newer)")
        try:
            found, as_of, said = _rows_elsewhere(planned, platform, context)
        except EnvError as error:
            if platform.name in error.message:
                raise
            message = f"For {platform.name}: {error.message}"
            raise EnvError(message, hint=error.hint, log_path=error.log_path) from error
        plans.append(planned)
        rows += found
        days.add(as_of)
        notes.update(dict.fromkeys(f"{platform.name}: {note}" for note in said))
    _write(target, plans, rows, context)
    as_of = days.pop() if len(days) == 1 else "today"
    return WrittenLockfile(target, len(rows), as_of, "; ".join(notes) or None)


def _rows_elsewhere(
    plan: CondaPlan, platform: Platform, context: Context
) -> tuple[list[dict[str, Any]], str, list[str]]:
    """Return the packages for a platform as conda-lock.yml has them, of which day, and notes."""
    solution = solve(plan.wanted, context)
    with work_folder(context) as folder:
        install(solution.packages, folder / "env", plan.wanted, context)
        interpreter, site_packages = _python_of(solution, folder / "env")
        linked = find_linked(site_packages, interpreter, "conda installs")
        linked = replace(linked, platform=platform)
        request = replace(
            plan.pip.request(sys.executable), version=interpreter.version, platform=platform
        )
        resolution = resolve_beside(linked, request, context, "pylock.toml")
        asked = _asked(linked, request, context)
    rows = [_row(package, "conda", platform.name) for package in solution.packages]
    notes = [*solution.notes, *([resolution.note] if resolution.note else [])]
    for package, archive in _chosen(resolution.text, interpreter, platform):
        if package.name in linked.distributions:
            continue
        url, digest = _located(archive)
        if url is None or digest is None:
            notes.append(f"{package.name} comes from no index: {CONDA_LOCK} cannot hold it")
            continue
        depends = tuple(asked.get(package.name, ()))
        pip = PipPackage(package.name, str(package.version), url, digest, depends)
        rows.append(_row(pip, "pip", platform.name))
    return rows, resolution.as_of if solution.dated else "today", notes


def _python_of(solution: Solution, prefix: Path) -> tuple[Interpreter, Path]:
    """Return the Python among solved packages, which does not run here, and its site-packages."""
    python = next(package for package in solution.packages if package.name == "python")
    interpreter = Interpreter("", python.version, "cpython", python.subdir, "")
    below = python.python_site_packages_path or f"lib/python{interpreter.minor}/site-packages"
    return interpreter, prefix / below


def _asked(linked: Linked, request: Request, context: Context) -> dict[str, list[str]]:
    """Return which packages each pip package asks for (normalised names), as uv tells it."""
    wanted = resolve_beside(
        replace(linked, distributions={}), replace(request, annotated=True), context
    )
    asked: dict[str, list[str]] = {}
    for block in wanted.blocks:
        name = requirement_name(block)
        for who in block.rpartition("# via ")[2].split(", ") if "# via " in block else ():
            if name and re.fullmatch(r"[\w.-]+", who.strip()):
                asked.setdefault(normalize_name(who.strip()), []).append(name)
    return asked


def _write(
    target: Path, plans: Sequence[CondaPlan], rows: list[dict[str, Any]], context: Context
) -> None:
    hashes = {
        plan.machine.subdir: hashlib.sha256(
            json.dumps(dict(plan.canonical), sort_keys=True).encode()
        ).hexdigest()
        for plan in plans
    }
    document = {
        "version": 1,
        "metadata": {
            "content_hash": hashes,
            "channels": [{"url": c.url, "used_env_vars": []} for c in plans[0].channels],
            "platforms": [*hashes],
            "sources": ["conda.yaml"],
        },
        "package": rows,
    }
    text = context.log.mask(yaml.safe_dump(document, sort_keys=False, width=200))
    try:
        write_atomically(target, "# Written by launcher, in conda-lock's format.\n" + text)
    except OSError as error:
        raise EnvError(
            f"{target} cannot be written: {error.strerror}.", hint="Lock a copy of the model."
        ) from error


def _rows(
    plan: CondaPlan, environment: Environment, context: Context
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the packages as conda-lock.yml has them, and a line for each that it cannot hold."""
    records = list(_records(environment.path))
    conda = [CondaPackage.from_row({**row, "file_name": row["fn"]}) for row in records]
    owned = {name for row in records for name in row["files"]}
    pip, left_out = _pip_packages(plan, environment, owned, context)
    rows = [_row(package, "conda", plan.machine.subdir) for package in conda]
    return rows + [_row(package, "pip", plan.machine.subdir) for package in pip], left_out


def _records(prefix: Path) -> Iterator[dict[str, Any]]:
    """Yield what conda's format has on each package that is linked into an environment."""
    for path in sorted(prefix.glob("conda-meta/*.json")):
        yield json.loads(path.read_bytes())


def _split(depends: Iterable[str]) -> dict[str, str]:
    """Return names and version specs of dependencies; the machine itself is none."""
    pairs = (text.partition(" ") for text in depends)
    return {name: spec for name, _, spec in pairs if not name.startswith("__")}


def _row(package: CondaPackage | PipPackage, manager: str, subdir: str) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": manager,
        "platform": subdir,
        "dependencies": _split(package.depends),
        "url": package.url,
        "hash": package.hashes,
        "category": "main",
        "optional": False,
    }


def _pip_packages(
    plan: CondaPlan, environment: Environment, owned: set[str], context: Context
) -> tuple[list[PipPackage], tuple[str, ...]]:
    """Return the pip packages of an environment, each with the file for its Python.

    ``owned`` has the files (relative to the environment) of conda's packages.
    """
    interpreter, site_packages = inspect(environment.path, context)
    everything = find_linked(site_packages, interpreter, "conda installs")
    linked = {
        name: found
        for name, found in everything.distributions.items()
        if _is_owned(everything.metadata[name].relative_to(environment.path), owned)
    }
    versions = {n: v for n, v in everything.versions.items() if n not in linked}
    pins = tuple(f"{name}=={version}" for name, version in versions.items())
    request = plan.pip.request(environment.python)
    request = replace(request, constraints=(*request.constraints, *pins))
    stay = replace(everything, distributions=linked)
    text = resolve_beside(stay, request, context, "pylock.toml").text
    found, left_out = [], []
    for package, archive in _chosen(text, interpreter):
        if package.name not in versions:
            continue
        url, digest = _located(archive)
        if url is None or digest is None:
            left_out.append(f"{package.name} comes from no index: {CONDA_LOCK} cannot hold it")
            continue
        depends = _depends(everything.distributions[package.name], interpreter)
        found.append(PipPackage(package.name, versions[package.name], url, digest, depends))
    return found, tuple(left_out)


def _chosen(
    text: str, interpreter: Interpreter, platform: Platform | None = None
) -> list[tuple[Package, Archive]]:
    if not text.strip():
        return []
    return choose(load_pylock(text, "The resolution"), "The resolution", interpreter, platform)


def _is_owned(metadata: Path, owned: set[str]) -> bool:
    """Tell whether a distribution's metadata (a folder, or a file) is of a conda package."""
    return not owned.isdisjoint({str(metadata), f"{metadata}/METADATA", f"{metadata}/PKG-INFO"})


def _located(archive: Archive) -> tuple[str | None, str | None]:
    """Return URL and sha256 of what is installed; None for what no index has."""
    url = getattr(archive, "url", None)
    hashes: Mapping[str, str] = getattr(archive, "hashes", {})
    if url is None or not url.startswith(("http://", "https://")):
        return None, None
    # An index's credentials are for its settings; the installer finds them there by the host.
    return re.sub(r"(?<=://)[^/@]+@", "", url), hashes.get("sha256")


def _depends(distribution: Distribution, interpreter: Interpreter) -> tuple[str, ...]:
    """Return what a distribution needs in this environment: "name", or "name >=1"."""
    environment = marker_environment(interpreter)
    needed = (Requirement(line) for line in distribution.requires or ())
    return tuple(
        f"{normalize_name(r.name)} {r.specifier}".strip()
        for r in needed
        if r.marker is None or r.marker.evaluate(environment)
    )
