"""The record that makes an environment count, and the environment itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.disk.files import write_atomically
from envs.disk.locks import Mark

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Mismatch:
    """A requirement that an environment does not fulfil.

    Attributes:
        requirement: the line, e.g. "numpy==1.26.4".
        installed: the version that is there, None where the package is missing.
    """

    requirement: str
    installed: str | None


@dataclass(frozen=True)
class Environment:
    """An environment that is complete, and kept from pruning while this value lives.

    Attributes:
        key: the hash of all that decides its content.
        manager: "virtualenv", "conda" or "local".
        path: its folder (``sys.prefix`` of its interpreter).
        python: absolute path of its interpreter.
        python_version: "3.7.16".
        packages: normalised names and versions of the distributions in it.
        reused: whether it was there already (nothing was run to prepare it).
        notes: one-line remarks of the build, such as why it was resolved as of today.
        as_of: the day whose releases it has, "today", or "lock"; None for "local".
        mismatches: for "local", the requirements that the running Python does not fulfil.
    """

    key: str
    manager: str
    path: Path
    python: Path
    python_version: str
    packages: Mapping[str, str]
    reused: bool = True
    notes: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    as_of: str | None = None
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


@dataclass(frozen=True)
class Contents:
    """What a manager has built.

    Attributes:
        python: the interpreter, relative to the environment's prefix ("bin/python").
        python_version: its full version.
        site_packages: folder of its packages, relative to the prefix.
        packages: normalised names and versions.
        resolved: the exact list that was installed, credentials removed (text).
        as_of: "2020-09-01", "today", or "lock" where a lockfile was installed.
        notes: one-line remarks.
    """

    python: str
    python_version: str
    site_packages: str
    packages: Mapping[str, str]
    resolved: str
    as_of: str
    notes: tuple[str, ...] = ()


def write_manifest(
    folder: Path, key: str, manager: str, canonical: Mapping[str, Any], contents: Contents
) -> None:
    """Write the manifest, the last step of a build: from then on the environment counts."""
    from datetime import datetime, timezone

    prefix = folder / "env"
    document = {
        "manifest_version": MANIFEST_VERSION,
        "key": key,
        "manager": manager,
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
    write_atomically(folder / MANIFEST, json.dumps(document, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an environment's folder, None where it does not count."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("manifest_version") != MANIFEST_VERSION:
        return None
    return document


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
        manager=manifest["manager"],
        path=prefix,
        python=prefix / manifest["python"],
        python_version=manifest["python_version"],
        packages=manifest["packages"],
        reused=reused,
        notes=tuple(manifest["notes"]),
        as_of=manifest["as_of"],
        mark=mark,
    )


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [status.st_mtime_ns, status.st_size]
