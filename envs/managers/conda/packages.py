"""Conda packages: solved, verified and linked by py-rattler, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envs.building.context import Context
from envs.errors import EnvError
from envs.managers.conda.cache import cache_folder, cache_in_use, sweep
from envs.managers.conda.channels import Channel
from envs.managers.conda.failures import wrong_hash
from envs.managers.conda.machine import Machine
from envs.managers.conda.rattler import call_rattler

INDEX_TIMEOUT = 120  # seconds for one request; conda's setting for it wins
PACKAGE_TIMEOUT = 1800


@dataclass(frozen=True)
class CondaPackage:
    """A package as a channel's index has it (https://conda.org/learn/ceps/cep-0034).

    Fields are those of the index; ``noarch`` is "python", "generic" or None, ``sha256`` and
    ``md5`` are hexadecimal or None, ``size`` in bytes, ``channel`` a URL. No credentials.
    """

    name: str
    version: str
    build: str
    url: str
    channel: str
    subdir: str
    file_name: str
    build_number: int = 0
    noarch: str | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    license: str | None = None
    python_site_packages_path: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CondaPackage:
        """Return the package of a row of JSON; what is not an attribute is left out."""
        names = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in row.items()
            if name in names
        }
        return cls(**values)

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes that the index has, by kind."""
        pairs = {"md5": self.md5, "sha256": self.sha256}
        return {kind: digest for kind, digest in pairs.items() if digest}

    def explicit(self) -> str:
        """Return the package as a line of conda's explicit lists."""
        return f"{self.url}#sha256:{self.sha256}" if self.sha256 else f"{self.url}#{self.md5}"


@dataclass(frozen=True)
class Solution:
    """What a solve gave.

    :param packages: all that is to be linked.
    :param dated: whether the bound held.
    :param notes: one line each on what was not done as asked.
    """

    packages: tuple[CondaPackage, ...]
    dated: bool
    notes: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Names and versions."""
        return {package.name: package.version for package in self.packages}


@dataclass(frozen=True)
class Wanted:
    """What is asked of the channels.

    :param channels: in order of priority.
    :param specs: match specs.
    :param instead: for a spec that no package matches, a wider one.
    :param machine: what for.
    :param bound: builds count up to this moment (milliseconds since the epoch), None for all.
    :param day: the day to name in messages.
    :param constraints: match specs for what might get installed because something depends on it.
    """

    channels: tuple[Channel, ...]
    specs: tuple[str, ...]
    instead: Mapping[str, str]
    machine: Machine
    bound: int | None = None
    day: str | None = None
    constraints: tuple[str, ...] = ()

    def attempts(self) -> list[dict[str, Any]]:
        """Return the ways to solve, best first.

        A channel hides the packages of those after it; where that leaves no solution, packages
        are mixed, as conda does. The constraints hold to the last: without them there may be a
        solution that the pip section contradicts, which makes for a better message.
        """
        priorities = [True, False] if len(self.channels) > 1 else [True]
        bounds = [self.bound, None] if self.bound is not None else [None]
        attempts = [
            {"bound": bound, "strict": strict, "constrained": True}
            for bound in bounds
            for strict in priorities
        ]
        if self.constraints:
            attempts.append({"bound": None, "strict": priorities[-1], "constrained": False})
        return attempts

    def request(self, context: Context) -> dict[str, Any]:
        """Return the part of a worker's request that all actions have."""
        return {
            "channels": [channel.url for channel in self.channels],
            "access": [access for channel in self.channels if (access := channel.access())],
            "subdir": self.machine.subdir,
            "cache": str(cache_folder(context.home)),
            "offline": is_offline(context),
            "specs": list(self.specs),
            "instead": dict(self.instead),
        }


def is_offline(context: Context) -> bool:
    """Tell whether no network may be touched: a wheelhouse is for machines without one."""
    return context.offline or context.wheelhouse is not None


def solve(wanted: Wanted, context: Context) -> Solution:
    """Return the packages that fulfil what is wanted, as of its bound where that is possible.

    :raises EnvError: there is no solution, a channel is not there or does not answer.
    """
    count = f"{len(wanted.specs)} conda requirement{'s' if len(wanted.specs) != 1 else ''}"
    context.report(f"resolving {count} as of {wanted.day or 'today'}")
    request = {
        **wanted.request(context),
        "action": "solve",
        "timeout": int(os.environ.get("CONDA_REMOTE_READ_TIMEOUT_SECS") or INDEX_TIMEOUT),
        "constraints": list(wanted.constraints),
        "virtual_packages": [list(row) for row in wanted.machine.virtual_packages],
        "attempts": wanted.attempts(),
    }
    with cache_in_use(context.home):
        result = call_rattler(request, context, wanted.channels)
    attempt = request["attempts"][result["attempt"]]
    packages = tuple(CondaPackage.from_row(row) for row in result["records"])
    notes = []
    for spec in result["replaced"]:
        package = next(p for p in packages if p.name == re.split(r"[^\w.-]", spec)[0])
        notes.append(f"no channel has {spec}: using {package.name} {package.version}")
    dated = attempt["bound"] == wanted.bound
    if not dated:
        notes.append(f"conda packages are of today: {_why_not_dated(result['why'], wanted)}")
    if not attempt["strict"]:
        notes.append("conda packages are mixed from several channels")
    for note in notes:
        context.report(note)
    return Solution(packages, dated, tuple(notes))


def _why_not_dated(why: Mapping[str, Any] | None, wanted: Wanted) -> str:
    if why is None:
        return f"as of {wanted.day} there is no solution"
    if why["day"] is None:
        return f"the channel does not say when {why['name']} was built"
    return f"{why['name']} {why['version']} is from {why['day']}, later than {wanted.day}"


def install(
    packages: Sequence[CondaPackage],
    prefix: Path,
    wanted: Wanted,
    context: Context,
    *,
    lockfile: Path | None = None,
) -> None:
    """Fetch packages and link them into ``prefix``.

    :param lockfile: where they come from, if that must fulfil ``wanted`` first.
    :raises EnvError: one cannot be had unchanged.
    """
    verify(packages)
    request = {
        **wanted.request(context),
        "action": "install",
        "timeout": PACKAGE_TIMEOUT,
        "records": [asdict(package) for package in packages],
        "prefix": str(prefix),
        "check": lockfile is not None,
    }
    with cache_in_use(context.home) as cache:
        sweep(cache)
        call_rattler(request, context, wanted.channels, lockfile)


def verify(packages: Iterable[CondaPackage]) -> None:
    """Compare packages from ``file://`` channels with their hashes: py-rattler does not.

    What it downloads it does compare, where there is a hash.

    :raises EnvError: a package differs, is missing, or has no hash in the index.
    """
    for package in packages:
        kind = "sha256" if package.sha256 else "md5"
        wanted = package.sha256 or package.md5
        if wanted is None:
            raise EnvError(
                f"The conda package {package.file_name} has no hash in the index of"
                f" {package.channel}.",
                hint="Have the channel indexed again.",
            )
        if not package.url.startswith("file:"):
            continue
        path = Path(unquote(urlsplit(package.url).path))
        try:
            with path.open("rb") as file:
                digest = hashlib.new(kind, usedforsecurity=False)
                while block := file.read(1 << 20):
                    digest.update(block)
        except FileNotFoundError as error:
            raise EnvError(
                f"The conda package {package.file_name} is in the index of {package.channel},"
                " but its file is missing.",
                hint="Index the channel again.",
            ) from error
        if digest.hexdigest() != wanted:
            raise wrong_hash(package.file_name)
