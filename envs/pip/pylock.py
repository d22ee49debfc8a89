"""pylock.toml (PEP 751, https://peps.python.org/pep-0751/): read, and chosen from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from packaging.markers import Environment, default_environment
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.tags import Tag, compatible_tags, cpython_tags

from envs.building.interpreters import Interpreter
from envs.errors import EnvError

Archive = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist

REWRITE = "Write it again for this Python and platform: launcher lock."


def load_pylock(text: str, origin: str) -> Pylock:
    """Return a ``pylock.toml`` of version 1, parsed and validated.

    :param origin: what it is called in messages.
    :raises EnvError: it is none.
    """
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return Pylock.from_dict(tomllib.loads(text))
    except ValueError as error:
        raise EnvError(f"{origin} is not TOML: {error}.", hint=REWRITE) from error
    except PylockValidationError as error:
        raise EnvError(
            f"{origin} is not a pylock.toml of version 1: {error}.", hint=REWRITE
        ) from error


def choose(pylock: Pylock, origin: str, interpreter: Interpreter) -> list[tuple[Package, Archive]]:
    """Return what an interpreter of this machine gets: each package, and what to install it from.

    :param origin: what the lockfile is called in messages.
    :raises EnvError: its Python or environments are others, or a package has nothing that fits.
    """
    newest = f"{interpreter.minor}.999"  # a lockfile of 3.11.7 serves 3.11.4 as well
    if pylock.requires_python is not None and pylock.requires_python.contains(newest):
        pylock = replace(pylock, requires_python=None)
    try:
        return list(
            pylock.select(
                environment=cast(Environment, marker_environment(interpreter)),
                tags=list(supported_tags(interpreter)),
            )
        )
    except PylockSelectError as error:
        meant = ", ".join(map(str, pylock.environments or ()))
        raise EnvError(
            f"{origin} is for another Python or platform than {interpreter.version} on"
            f" {interpreter.platform}: {error}{f' ({meant})' if meant else ''}.",
            hint=REWRITE,
        ) from error


def marker_environment(interpreter: Interpreter) -> dict[str, str]:
    """Return the values of environment markers for an interpreter of this machine."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": interpreter.minor,
        "python_full_version": interpreter.version,
        "implementation_version": interpreter.version,
        "implementation_name": interpreter.implementation,
    }


def supported_tags(interpreter: Interpreter) -> Iterator[Tag]:
    """Yield the wheel tags (cp37-cp37m-manylinux1_x86_64) of an interpreter of this machine."""
    version = tuple(int(part) for part in interpreter.version.split(".")[:2])
    short = "".join(map(str, version))
    abis = [f"cp{short}m", f"cp{short}"] if version < (3, 8) else None
    yield from cpython_tags(version, abis)
    yield from compatible_tags(version, f"cp{short}")
