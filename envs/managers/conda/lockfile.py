"""The format of conda-lock.yml, version 1: https://conda.github.io/conda-lock/output/"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import EnvError
from envs.managers.conda.failures import REWRITE
from envs.managers.conda.packages import CondaPackage
from envs.pip.resolution import Resolution
from envs.spec import normalize_name

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from envs.building.context import Context
    from envs.building.interpreters import Interpreter
    from envs.managers.conda.planning import CondaPlan
    from envs.spec import EnvSpec
    from envs.store.manifest import Environment
    from envs.store.store import EnvStore

CONDA_LOCK = "conda-lock.yml"
_ARCHIVE = re.compile(
    r"(?P<channel>.*)/(?P<subdir>[^/]+)/"
    r"(?P<file>(?P<name>[^/]+)-(?P<version>[^/-]+)-(?P<build>[^/-]+)(?:\.conda|\.tar\.bz2))"
)


@dataclass(frozen=True)
class PipPackage:
    """A package of the pip section: normalised name, version, URL, sha256 (hexadecimal)."""

    name: str
    version: str
    url: str
    sha256: str
    depends: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        return {"sha256": self.sha256}


@dataclass(frozen=True)
class Written:
    """A lockfile that was written.

    Attributes:
        environment: what it has the packages of.
        packages: how many packages it pins.
        as_of: "2020-09-01" or "today".
        notes: one line each: what the environment's build had to say, and packages that such a
            file cannot hold (from version control, or from a file or folder of the model), which
            are resolved again at every build.
    """

    environment: Environment
    packages: int
    as_of: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CondaLock:
    """A lockfile's packages for one platform."""

    path: Path
    conda: tuple[CondaPackage, ...]
    pip: tuple[PipPackage, ...]


def read_conda_lock(path: Path, subdir: str) -> CondaLock:
    """Return what a conda-lock.yml has for a platform; packages of extra categories left out.

    Raises EnvError, naming the package, where it is for other platforms or lacks a hash.
    """
    document = _load(path)
    platforms = [str(name) for name in document["metadata"].get("platforms", [])]
    if subdir not in platforms:
        first: Mapping[str, Any] = next(iter(document["package"]), {})
        raise EnvError(
            f"{path} is for {', '.join(platforms) or 'no platform'}, not for {subdir}"
            f" (its {first.get('name')} is {first.get('url')})",
            hint=REWRITE,
        )
    conda, pip = [], []
    for row in document["package"]:
        categories = row.get("categories") or [row.get("category", "main")]
        if row.get("platform") != subdir or "main" not in categories:
            continue
        if row.get("manager") == "pip":
            pip.append(_pip_package(row, path))
        else:
            conda.append(_conda_package(row, path))
    return CondaLock(path, tuple(conda), tuple(pip))


def _load(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise EnvError(f"the lockfile {path} cannot be read: {reason}", hint=REWRITE) from error
    if (
        not isinstance(document, dict)
        or document.get("version") != 1
        or not isinstance(document.get("metadata"), dict)
        or not isinstance(document.get("package"), list)
    ):
        raise EnvError(f"{path} is not a conda-lock.yml of version 1", hint=REWRITE)
    return document


def _conda_package(row: Mapping[str, Any], path: Path) -> CondaPackage:
    url = str(row.get("url", ""))
    found = _ARCHIVE.fullmatch(url)
    hashes = row.get("hash") or {}
    if found is None:
        raise EnvError(f"{path}: the URL of {row.get('name')} is none of a conda package: {url}")
    if not (hashes.get("sha256") or hashes.get("md5")):
        raise EnvError(f"{path} has no hash for {row['name']}", hint=REWRITE)
    dependencies = row.get("dependencies") or {}
    return CondaPackage(
        name=str(row["name"]),
        version=str(row["version"]),
        build=found["build"],
        url=url,
        channel=found["channel"] + "/",
        subdir=found["subdir"],
        file_name=found["file"],
        build_number=_build_number(found["build"]),
        depends=tuple(f"{name} {spec or ''}".strip() for name, spec in dependencies.items()),
        sha256=hashes.get("sha256"),
        md5=hashes.get("md5"),
    )


def _build_number(build: str) -> int:
    """Return the number that a build string ends with; lockfiles do not have it apart."""
    found = re.search(r"(?:^|_)(\d+)$", build)
    return int(found[1]) if found else 0


def _pip_package(row: Mapping[str, Any], path: Path) -> PipPackage:
    digest = (row.get("hash") or {}).get("sha256")
    if not digest:
        raise EnvError(f"{path} has no sha256 for {row.get('name')}", hint=REWRITE)
    return PipPackage(
        normalize_name(str(row["name"])), str(row["version"]), str(row["url"]), str(digest)
    )


def lock_resolution(lock: CondaLock) -> Resolution:
    """Return the pip packages of a lockfile as a list to install, hashed."""
    blocks = [f"{p.name} @ {p.url} \\\n    --hash=sha256:{p.sha256}\n" for p in lock.pip]
    return Resolution("".join(blocks), "lock")


def lock(spec: EnvSpec, target: Path, store: EnvStore, context: Context) -> Written:
    """Write the conda-lock.yml of a spec's environment to ``target``.

    The environment is built (or reused) first: the lockfile has what is really in it. A
    lockfile that the spec names is not read. Raises EnvError.
    """
    from envs.managers.conda.planning import plan
    from envs.store.manifest import read_manifest

    chosen = plan(replace(spec, lockfile=None), context)
    environment = store.get_or_build(chosen, context)
    with environment.in_use():
        count, left_out = write_conda_lock(chosen, environment, target, context)
        manifest = read_manifest(environment.path.parent) or {}
    return Written(environment, count, manifest["as_of"], (*environment.notes, *left_out))


def write_conda_lock(
    plan: CondaPlan, environment: Environment, target: Path, context: Context
) -> tuple[int, tuple[str, ...]]:
    """Write the conda-lock.yml of an environment that was built from ``plan`` (see `lock`).

    Returns the number of packages, and a line for each package that it cannot hold.
    """
    import yaml

    from envs.disk.files import write_atomically

    records = list(_records(environment.path))
    conda = [CondaPackage.from_row({**row, "file_name": row["fn"]}) for row in records]
    owned = {name for row in records for name in row["files"]}
    pip, left_out = _pip_packages(plan, environment, owned, context)
    subdir = plan.machine.subdir
    content = json.dumps(dict(plan.canonical), sort_keys=True).encode()
    rows = [_row(p, "conda", subdir, _split(p.depends)) for p in conda]
    rows += [_row(p, "pip", subdir, _split(p.depends)) for p in pip]
    document = {
        "version": 1,
        "metadata": {
            "content_hash": {subdir: hashlib.sha256(content).hexdigest()},
            "channels": [{"url": c.url, "used_env_vars": []} for c in plan.channels],
            "platforms": [subdir],
            "sources": ["conda.yaml"],
        },
        "package": rows,
    }
    text = context.log.mask(yaml.safe_dump(document, sort_keys=False, width=200))
    try:
        write_atomically(target, "# Written by launcher, in conda-lock's format.\n" + text)
    except OSError as error:
        raise EnvError(
            f"{target} cannot be written: {error.strerror}", hint="lock a copy of the model"
        ) from error
    return len(rows), left_out


def _records(prefix: Path) -> Iterator[dict[str, Any]]:
    """Yield what conda's format has on each package that is linked into an environment."""
    for path in sorted(prefix.glob("conda-meta/*.json")):
        yield json.loads(path.read_bytes())


def _split(depends: Iterable[str]) -> dict[str, str]:
    """Return names and version specs of dependencies; the machine itself is none."""
    pairs = (text.partition(" ") for text in depends)
    return {name: spec for name, _, spec in pairs if not name.startswith("__")}


def _row(
    package: CondaPackage | PipPackage, manager: str, subdir: str, dependencies: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": manager,
        "platform": subdir,
        "dependencies": dict(dependencies),
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
    from envs.managers.conda.building import inspect
    from envs.managers.conda.pip_section import find_linked, resolve_beside
    from envs.pip.pylock import load_pylock

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
    for row in load_pylock(text, "the resolution")["packages"] if text.strip() else ():
        name = normalize_name(row["name"])
        if name not in versions:
            continue
        url, digest = _best_file(row, interpreter)
        if url is None or digest is None:
            left_out.append(f"{name} comes from no index: {CONDA_LOCK} cannot hold it")
            continue
        depends = _depends(everything.distributions[name], interpreter)
        found.append(PipPackage(name, versions[name], url, digest, depends))
    return found, tuple(left_out)


def _is_owned(metadata: Path, owned: set[str]) -> bool:
    """Tell whether a distribution's metadata (a folder, or a file) is of a conda package."""
    return not owned.isdisjoint({str(metadata), f"{metadata}/METADATA", f"{metadata}/PKG-INFO"})


def _best_file(row: Mapping[str, Any], interpreter: Interpreter) -> tuple[str | None, str | None]:
    """Return URL and sha256 of the wheel, else the source, that suits a Python; None for files."""
    from envs.pip.pylock import file_name, supported_tags, wheel_tags

    rank = {tag: number for number, tag in enumerate(supported_tags(interpreter))}
    ranked = [
        (min(ranks), number, wheel)
        for number, wheel in enumerate(row.get("wheels", ()))
        if (ranks := [rank[tag] for tag in wheel_tags(file_name(wheel)) if tag in rank])
    ]
    archive = min(ranked)[2] if ranked else row.get("sdist") or row.get("archive") or {}
    url = archive.get("url")
    if url is None or url.startswith("file:"):
        return None, None
    # An index's credentials are for its settings; the installer finds them there by the host.
    return re.sub(r"(?<=://)[^/@]+@", "", url), archive.get("hashes", {}).get("sha256")


def _depends(distribution: Distribution, interpreter: Interpreter) -> tuple[str, ...]:
    """Return what a distribution needs in this environment: "name", or "name >=1"."""
    from packaging.requirements import Requirement

    from envs.pip.pylock import marker_environment

    environment = marker_environment(interpreter)
    needed = (Requirement(line) for line in distribution.requires or ())
    return tuple(
        f"{normalize_name(r.name)} {r.specifier}".strip()
        for r in needed
        if r.marker is None or r.marker.evaluate(environment)
    )
