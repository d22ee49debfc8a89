"""The format of pylock.toml (PEP 751, https://peps.python.org/pep-0751/), and whether one fits."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from envs.building.interpreters import Interpreter
from envs.errors import EnvError
from envs.spec import normalize_name

REWRITE = "write it again for this Python and platform: launcher lock"


@dataclass(frozen=True)
class LockedPackage:
    """A package of a lockfile.

    Attributes:
        name: normalised.
        version: None where the lockfile gives none (version control, folders).
        marker: the environments it is for, "" for all.
        wheels: file names of its wheels.
    """

    name: str
    version: str | None
    marker: str
    wheels: tuple[str, ...]


def load_pylock(text: str, origin: str) -> dict[str, Any]:
    """Return a ``pylock.toml`` of version 1, parsed; EnvError naming ``origin`` if it is none."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise EnvError(f"{origin} is not TOML: {error}", hint=REWRITE) from error
    version = str(document.get("lock-version", ""))
    if version.split(".")[0] != "1" or not isinstance(document.get("packages"), list):
        raise EnvError(f"{origin} is not a pylock.toml of version 1", hint=REWRITE)
    return document


def file_name(archive: Mapping[str, Any]) -> str:
    """Return the file name of a wheel, sdist or archive table of a ``pylock.toml``."""
    location = str(archive.get("name") or archive.get("url") or archive.get("path"))
    return unquote(location.rsplit("/", 1)[-1].split("#")[0])


def wheel_tags(wheel: str) -> list[str]:
    """Return the tags that a wheel's file name stands for."""
    python, abi, platform = wheel.removesuffix(".whl").split("-")[-3:]
    return [
        f"{p}-{a}-{t}"
        for p in python.split(".")
        for a in abi.split(".")
        for t in platform.split(".")
    ]


def marker_environment(interpreter: Interpreter) -> dict[str, str]:
    """Return the values of environment markers for an interpreter of this machine."""
    from packaging.markers import default_environment

    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": interpreter.minor,
        "python_full_version": interpreter.version,
        "implementation_version": interpreter.version,
        "implementation_name": interpreter.implementation,
        "extra": "",
    }


def packages(document: Mapping[str, Any], environment: dict[str, str]) -> Iterator[LockedPackage]:
    from packaging.markers import Marker

    for row in document["packages"]:
        marker = row.get("marker", "")
        if marker and not Marker(marker).evaluate(environment):
            continue
        yield LockedPackage(
            name=normalize_name(row["name"]),
            version=row.get("version"),
            marker=marker,
            wheels=tuple(file_name(wheel) for wheel in row.get("wheels", ())),
        )


def check_python(
    document: Mapping[str, Any],
    path: Path,
    interpreter: Interpreter,
    environment: dict[str, str],
) -> None:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

    wanted = document.get("requires-python", "")
    newest = f"{interpreter.minor}.999"  # one written with 3.11.7 serves 3.11.4 as well
    markers = document.get("environments", [])
    if markers and not any(Marker(text).evaluate(environment) for text in markers):
        wanted = markers[0]
    elif SpecifierSet(wanted).contains(interpreter.version) or SpecifierSet(wanted).contains(
        newest
    ):
        return
    raise EnvError(
        f"{path} is for another Python or platform than {interpreter.version} on"
        f" {interpreter.platform}: {wanted}{_first_binary(document)}",
        hint=REWRITE,
    )


def _first_binary(document: Mapping[str, Any]) -> str:
    """Return in words the first package that is bound to a platform, to show what is meant."""
    for row in document["packages"]:
        for wheel in row.get("wheels", ()):
            name = file_name(wheel)
            if not name.endswith("-none-any.whl"):
                return f" (its {row['name']} is {name})"
    return ""


def check_wheels(packages: tuple[LockedPackage, ...], path: Path, interpreter: Interpreter) -> None:
    """Raise EnvError for the first package whose wheels are all for other environments."""
    supported = set(supported_tags(interpreter))
    for package in packages:
        fitting = [name for name in package.wheels if supported.intersection(wheel_tags(name))]
        if package.wheels and not fitting:
            raise EnvError(
                f"{path} has no wheel of {package.name} {package.version} for Python"
                f" {interpreter.version} on {interpreter.platform}",
                hint=REWRITE,
            )


def supported_tags(interpreter: Interpreter) -> Iterator[str]:
    """Yield the wheel tags ("cp37-cp37m-manylinux1_x86_64") of an interpreter of this machine."""
    from packaging import tags

    version = tuple(int(part) for part in interpreter.version.split(".")[:2])
    short = "".join(map(str, version))
    abis = [f"cp{short}m", f"cp{short}"] if version < (3, 8) else None
    for tag in tags.cpython_tags(version, abis):
        yield str(tag)
    for tag in tags.compatible_tags(version, f"cp{short}"):
        yield str(tag)
