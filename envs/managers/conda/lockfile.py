"""The format of conda-lock.yml, version 1: https://conda.github.io/conda-lock/output/"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.disk.yaml_file import read_yaml
from envs.errors import EnvError
from envs.managers.conda.failures import REWRITE
from envs.managers.conda.packages import CondaPackage
from envs.pip.resolution import Resolution
from envs.spec import normalize_name

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
class CondaLockfile:
    """A lockfile's packages for one platform."""

    path: Path
    conda: tuple[CondaPackage, ...]
    pip: tuple[PipPackage, ...]


def read_conda_lockfile(path: Path, subdir: str) -> CondaLockfile:
    """Return what a conda-lock.yml has for a platform; packages of extra categories left out.

    :raises EnvError: it is for other platforms or lacks a hash; names the package.
    """
    document = _load(path)
    platforms = [str(name) for name in document["metadata"].get("platforms", [])]
    if subdir not in platforms:
        first: Mapping[str, Any] = next(iter(document["package"]), {})
        raise EnvError(
            f"{path} is for {', '.join(platforms) or 'no platform'}, not for {subdir}"
            f" (its {first.get('name')} is {first.get('url')}).",
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
    return CondaLockfile(path, tuple(conda), tuple(pip))


def _load(path: Path) -> dict[str, Any]:
    document = read_yaml(path)
    if (
        not isinstance(document, dict)
        or document.get("version") != 1
        or not isinstance(document.get("metadata"), dict)
        or not isinstance(document.get("package"), list)
    ):
        raise EnvError(f"{path} is not a conda-lock.yml of version 1.", hint=REWRITE)
    return document


def _conda_package(row: Mapping[str, Any], path: Path) -> CondaPackage:
    url = str(row.get("url", ""))
    found = _ARCHIVE.fullmatch(url)
    hashes = row.get("hash") or {}
    if found is None:
        raise EnvError(f"{path}: the URL of {row.get('name')} is none of a conda package: {url}.")
    if not (hashes.get("sha256") or hashes.get("md5")):
        raise EnvError(f"{path} has no hash for {row['name']}.", hint=REWRITE)
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
        raise EnvError(f"{path} has no sha256 for {row.get('name')}.", hint=REWRITE)
    return PipPackage(
        normalize_name(str(row["name"])), str(row["version"]), str(row["url"]), str(digest)
    )


def locked_resolution(lockfile: CondaLockfile) -> Resolution:
    """Return the pip packages of a lockfile as a list to install, hashed."""
    blocks = [f"{p.name} @ {p.url} \\\n    --hash=sha256:{p.sha256}\n" for p in lockfile.pip]
    return Resolution("".join(blocks), "lock")
