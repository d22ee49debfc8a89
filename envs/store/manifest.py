"""The record that makes an environment count, and the environment itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from envs.disk import keyed_cache
from envs.disk.locks import Mark
from envs.plan import Contents

MANIFEST_VERSION = 1


class Mismatch(NamedTuple):
    """A requirement that an environment does not fulfil.

    :param requirement: the line, e.g. "numpy==1.26.4".
    :param installed: the version that is there, None where the package is missing.
    """

    requirement: str
    installed: str | None


@dataclass(frozen=True)
class Environment:
    """An environment that is complete, and kept from pruning while this value lives.

    :param key: the hash of all that decides its content.
    :param env_manager: the name of the manager that made it: "virtualenv", "conda", "local".
    :param path: its folder (``sys.prefix`` of its interpreter).
    :param python: absolute path of its interpreter.
    :param python_version: "3.7.16".
    :param packages: normalised names and versions of the distributions in it.
    :param as_of: the day whose releases it has, "2020-09-01" or "today"; "lock" where a lockfile
        says what is in it, "wheelhouse" where a wheelhouse does; None where nothing was resolved.
    :param reused: whether it was there already (nothing was run to prepare it).
    :param notes: one-line remarks of the build, such as why it was resolved as of today.
    :param mismatches: the requirements that it does not fulfil: those of the model, for the
        manager "local".
    """

    key: str
    env_manager: str
    path: Path
    python: Path
    python_version: str
    packages: Mapping[str, str]
    as_of: str | None = None
    reused: bool = True
    notes: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    mark: Mark | None = field(default=None, repr=False, compare=False)

    @contextmanager
    def in_use(self) -> Iterator[int | None]:
        """Keep the environment from being removed until the block ends.

        It is kept since `prepare` returned it; the end of the block (or of the process, by
        whatever means) is the end of that. Yields the descriptor that holds the mark: a child
        that inherits it (``pass_fds``) keeps the environment in use until it ends as well.
        None where there is nothing to hold: "local", or a cache that is read-only.
        """
        try:
            yield self.mark.fileno() if self.mark is not None else None
        finally:
            if self.mark is not None:
                self.mark.release()


def write_manifest(
    folder: Path, key: str, canonical: Mapping[str, Any], contents: Contents
) -> None:
    """Write the manifest, the last step of a build: from then on the environment counts."""
    from datetime import datetime, timezone

    prefix = folder / "env"
    document = {
        "key": key,
        "manager": canonical["manager"],
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "prefix": str(prefix),
        "python": contents.python,
        "python_version": contents.python_version,
        "python_stamp": _stamp(prefix / contents.python),
        "site_packages": contents.site_packages,
        "top_level": sorted(os.listdir(prefix / contents.site_packages)),  # noqa: PTH208
        "packages": dict(contents.packages),
        "as_of": contents.as_of,
        "notes": list(contents.notes),
        "resolved": contents.resolved,
        "inputs": dict(canonical),
    }
    keyed_cache.write_manifest(folder, MANIFEST_VERSION, document)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an environment's folder, None where it does not count."""
    return keyed_cache.read_manifest(folder, MANIFEST_VERSION)


def damage(manifest: Mapping[str, Any], folder: Path) -> str | None:
    """Return in one line what is missing of a complete environment, None where nothing is.

    Looks at the interpreter (through the link to its base) and at the names in site-packages:
    a few file system calls, nothing is run.
    """
    prefix = folder / "env"
    if manifest["prefix"] != str(prefix):
        return f"it was moved from {manifest['prefix']}"
    stamp = _stamp(prefix / manifest["python"])
    if stamp is None:
        return "its Python is gone"
    if stamp != manifest["python_stamp"]:
        return "its Python has changed"
    try:
        present = set(os.listdir(prefix / manifest["site_packages"]))  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return "its site-packages folder is gone"
    missing = sorted(set(manifest["top_level"]) - present)
    return f"{missing[0]} is gone from its site-packages" if missing else None


def to_environment(
    manifest: Mapping[str, Any], folder: Path, *, reused: bool, mark: Mark | None
) -> Environment:
    """Return the environment that a manifest describes."""
    prefix = folder / "env"
    return Environment(
        key=manifest["key"],
        env_manager=manifest["manager"],
        path=prefix,
        python=prefix / manifest["python"],
        python_version=manifest["python_version"],
        packages=manifest["packages"],
        as_of=manifest["as_of"],
        reused=reused,
        notes=tuple(manifest["notes"]),
        mark=mark,
    )


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [status.st_mtime_ns, status.st_size]
