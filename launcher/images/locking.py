"""The lock of an image's environment, and the files of this machine that it names."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envs import EnvError, EnvSpec, EnvStore
from envs.managers.virtualenv.planning import plan
from envs.pip.indexes import IndexSettings
from envs.pip.lockfiles import PYLOCK, check_fresh, read_lockfile, resolve_missing, write_pylock
from envs.pip.platforms import linux_platform
from envs.pip.pylock import load_pylock
from envs.pip.resolution import Request, resolve
from envs.preparing import context_for

if TYPE_CHECKING:
    from packaging.pylock import Package

    from envs.building.context import Context, Report
    from envs.pip.lockfiles import Lockfile

# What serving needs and a lockfile that the model carries has not.
SERVER_PYLOCK = "pylock.server.toml"
# Where the files that a lock names are, below the folder of the lock.
LOCAL_FILES = "files"


@dataclass(frozen=True)
class Lock:
    """All packages of an environment, exact and hashed.

    :param texts: files in the format of ``pylock.toml`` by name, without credentials, in the order
        of installation.
    :param packages: as they have them.
    :param files: files and folders of this machine that they name, by path beside them.
    :param python: the Python it is for, "3.11".
    :param as_of: the day whose releases it has, "lock" where the model carries it.
    :param dates: uv's options for that day, for what is built from source.
    :param indexes: where the packages come from, credentials included.
    """

    texts: Mapping[str, str]
    packages: tuple[Package, ...]
    files: Mapping[str, Path]
    python: str
    as_of: str
    dates: tuple[str, ...] = ()
    indexes: IndexSettings = field(default_factory=IndexSettings)

    @property
    def sha256(self) -> str:
        """The hash (hexadecimal) that stands for the packages."""
        return hashlib.sha256("".join(self.texts.values()).encode()).hexdigest()

    @property
    def built(self) -> list[str]:
        """The names of the packages without a wheel: what builds them may need a compiler."""
        return [each.name for each in self.packages if not (each.wheels or _is_wheel(each))]


def _is_wheel(package: Package) -> bool:
    archive = package.archive
    return archive is not None and (archive.path or archive.url or "").endswith(".whl")


def lock(spec: EnvSpec, machine: str, report: Report, *, offline: bool | None = None) -> Lock:
    """Resolve a spec as ``launcher lock`` does, or take the lockfile that it names.

    :param machine: the processor that it is for, as uname has it; the system is Linux.
    :raises EnvError: that cannot be done.
    """
    context = context_for(EnvStore(), report, offline=offline)
    planned = plan(spec, context)
    context.log.secrets.update(planned.pip.wanted.secrets)
    is_this = (sys.platform, os.uname().machine) == ("linux", machine)
    platform = None if is_this else linux_platform(machine)
    request = replace(planned.request, platform=platform)
    if spec.lockfile is None:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, PYLOCK)
            resolution = write_pylock(request, target, planned.interpreter, context)
            texts = {PYLOCK: target.read_text(encoding="utf-8")}
        as_of, dates = resolution.as_of, resolution.dates
        chosen = None
    elif platform is not None and spec.lockfile.name != PYLOCK:
        raise EnvError(
            f"{spec.lockfile} cannot be read for another platform than this machine's.",
            hint=f"Build on a machine of linux/{machine}, or take the lockfile out of a copy.",
        )
    else:
        locked = read_lockfile(spec.lockfile, planned.interpreter, context, platform)
        texts, as_of, dates = _carried(locked, request, context), "lock", ()
        chosen = {(package.name, package.version) for package, _ in locked.chosen}
    files: dict[str, Path] = {}
    minor = planned.interpreter.minor
    for name, text in texts.items():
        text = _with_files_beside(text, spec.base_dir or Path(), files)
        # Whichever patch release the image has: the resolution is for the minor version.
        texts[name] = re.sub(
            r'^requires-python = ".*"$',
            f'requires-python = ">={minor}"',
            text,
            count=1,
            flags=re.MULTILINE,
        )
    packages = {
        package.name: package
        for name, text in reversed(texts.items())
        for package in load_pylock(text, name).packages
        # A lockfile for several platforms has more than what this image gets of it.
        if chosen is None or name != PYLOCK or (package.name, package.version) in chosen
    }
    return Lock(
        texts,
        tuple(packages[name] for name in sorted(packages)),
        files,
        minor,
        as_of,
        dates,
        planned.pip.wanted.indexes.under(os.environ),
    )


def _carried(locked: Lockfile, request: Request, context: Context) -> dict[str, str]:
    """A model's own lockfile, and what it lacks."""
    check_fresh(locked, request.lines)
    missing = resolve_missing(request, locked, context, PYLOCK).text
    texts = {PYLOCK: locked.text, **({SERVER_PYLOCK: missing} if missing else {})}
    return {name: context.log.bare(text) for name, text in texts.items()}


def _with_files_beside(text: str, base: Path, files: dict[str, Path]) -> str:
    """A lock's text that names files of this machine as they are in the context.

    :param base: where its relative paths start.
    :param files: gets what it names.
    """

    def beside(found: re.Match[str]) -> str:
        location = found[1]
        if location.startswith("file:"):
            location = unquote(urlsplit(location).path)
        source = base / location
        name = f"{LOCAL_FILES}/{source.name}"
        files[name] = source
        return f'path = "{name}"'

    return re.sub(r'\b(?:path|url(?= = "file:)) = "([^"]+)"', beside, text)


def installer(indexes: IndexSettings, report: Report, *, offline: bool | None = None) -> str:
    """The lines of a requirements file, with hashes, for the uv that installs in the image.

    It is the release that this launcher uses.

    :raises EnvError: no index has it.
    """
    from importlib.metadata import version

    return pinned((f"uv=={version('uv')}",), indexes, report, offline=offline)


def pinned(
    lines: tuple[str, ...], indexes: IndexSettings, report: Report, *, offline: bool | None = None
) -> str:
    """The lines of a requirements file, exact and with hashes, as of today.

    :raises EnvError: they cannot be resolved.
    """
    context = context_for(EnvStore(), report, offline=offline)
    context.log.secrets.update(indexes.secrets())
    request = Request(lines, (), indexes, sys.executable)
    return context.log.bare(resolve(request, context).text)
