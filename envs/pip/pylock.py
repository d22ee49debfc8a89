"""pylock.toml (PEP 751, https://peps.python.org/pep-0751/): read, and chosen from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

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
from envs.pip.platforms import PLATFORMS, Platform

Archive = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist

# The table below [tool] that is ours.
TOOL = "launcher"
REWRITE = "Write it again for this Python and platform: launcher lock."


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values of a TOML document.

    :raises ValueError: it is none.
    """
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    parsed: dict[str, Any] = tomllib.loads(text)
    return parsed


def load_pylock(text: str, origin: str) -> Pylock:
    """Return a ``pylock.toml`` of version 1, parsed and validated.

    :param origin: what it is called in messages.
    :raises EnvError: it is none.
    """
    try:
        return Pylock.from_dict(parse_toml(text))
    except ValueError as error:
        raise EnvError(f"{origin} is not TOML: {error}.", hint=REWRITE) from error
    except PylockValidationError as error:
        raise EnvError(
            f"{origin} is not a pylock.toml of version 1: {error}.", hint=REWRITE
        ) from error


def choose(
    pylock: Pylock, origin: str, interpreter: Interpreter, platform: Platform | None = None
) -> list[tuple[Package, Archive]]:
    """Return what an interpreter gets: each package, and what to install it from.

    :param origin: what the lockfile is called in messages.
    :param platform: where the interpreter is; None for this machine.
    :raises EnvError: its Python or environments are others, or a package has nothing that fits.
    """
    environment = marker_environment(interpreter, platform)
    _check_platform(pylock, origin, environment)
    newest = f"{interpreter.minor}.999"  # a lockfile of 3.11.7 serves 3.11.4 as well
    if pylock.requires_python is not None and pylock.requires_python.contains(newest):
        pylock = replace(pylock, requires_python=None)
    try:
        return list(
            pylock.select(
                environment=cast(Environment, environment),
                tags=list(supported_tags(interpreter, platform)),
            )
        )
    except PylockSelectError as error:
        meant = ", ".join(map(str, pylock.environments or ()))
        raise EnvError(
            f"{origin} is for another Python or platform than {interpreter.version} on"
            f" {interpreter.platform}: {error}{f' ({meant})' if meant else ''}.",
            hint=REWRITE,
        ) from error


def _check_platform(pylock: Pylock, origin: str, environment: Mapping[str, str]) -> None:
    """See that a lock which says for which platforms it is (see `merging`) is for this one.

    :raises EnvError: it is for others.
    """
    named = (pylock.tool or {}).get(TOOL, {}).get("platforms", [])
    system, machine = environment["sys_platform"], environment["platform_machine"]
    fitting = [
        each.name for each in PLATFORMS.values() if (each.system, each.machine) == (system, machine)
    ]
    here = fitting[0] if fitting else f"{system}-{machine}"
    if named and here not in named:
        options = " ".join(f"--platform {name}" for name in (*named, *fitting))
        raise EnvError(
            f"{origin} is for {', '.join(named)}, not for {here}.",
            hint=f"Write it again: launcher lock {options}",
        )


def marker_environment(
    interpreter: Interpreter, platform: Platform | None = None
) -> dict[str, str]:
    """Return the values of environment markers for an interpreter, of this machine for None."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        **(platform.markers() if platform is not None else {}),
        "python_version": interpreter.minor,
        "python_full_version": interpreter.version,
        "implementation_version": interpreter.version,
        "implementation_name": interpreter.implementation,
    }


def supported_tags(interpreter: Interpreter, platform: Platform | None = None) -> Iterator[Tag]:
    """Yield the wheel tags (cp37-cp37m-manylinux1_x86_64) of an interpreter, the best first."""
    version = tuple(int(part) for part in interpreter.version.split(".")[:2])
    short = "".join(map(str, version))
    abis = [f"cp{short}m", f"cp{short}"] if version < (3, 8) else None
    if platform is not None and abis is None:
        abis = [f"cp{short}"]
    platforms = list(platform.tags()) if platform is not None else None
    yield from cpython_tags(version, abis, platforms)
    yield from compatible_tags(version, f"cp{short}", platforms)
