"""Lockfiles: pylock.toml (PEP 751, https://peps.python.org/pep-0751/) and uv.lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.building.context import Context
from envs.building.interpreters import Interpreter
from envs.building.process import Completed, clean_environ, run
from envs.disk.files import write_atomically
from envs.errors import EnvError
from envs.pip.indexes import IndexSettings
from envs.pip.pylock import (
    LockedPackage,
    check_python,
    check_wheels,
    load_pylock,
    marker_environment,
    packages,
)
from envs.pip.resolution import Request, Resolution, resolve
from envs.pip.uv import run_uv, uv_error, work_folder
from envs.spec import normalize_name

PYLOCK = "pylock.toml"
UV_LOCK = "uv.lock"


@dataclass(frozen=True)
class Lock:
    """A lockfile that fits an interpreter.

    Attributes:
        path: the lockfile as the model carries it.
        packages: what is to be installed: packages whose marker does not hold are left out.
        document: the lockfile as ``pylock.toml``, parsed.
        text: the same, as text.
    """

    path: Path
    packages: tuple[LockedPackage, ...]
    document: Mapping[str, Any]
    text: str

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The tables of the packages to install, as PEP 751 has them."""
        names = {package.name for package in self.packages}
        return [row for row in self.document["packages"] if normalize_name(row["name"]) in names]

    @property
    def pins(self) -> dict[str, str | None]:
        """Names and versions."""
        return {package.name: package.version for package in self.packages}


def find_lockfile(folder: Path) -> Path | None:
    """Return the lockfile for virtualenv that a model's folder carries, or None.

    A ``uv.lock`` counts only beside its ``pyproject.toml``.
    """
    if (folder / PYLOCK).is_file():
        return folder / PYLOCK
    if (folder / UV_LOCK).is_file() and (folder / "pyproject.toml").is_file():
        return folder / UV_LOCK
    return None


def read_lock(path: Path, interpreter: Interpreter, context: Context) -> Lock:
    """Return the lock of a ``pylock.toml`` or ``uv.lock``; EnvError where it does not fit.

    It fits where its Python and environments are the interpreter's, and each of its packages
    has a wheel for it (or nothing but source).
    """
    if path.name == UV_LOCK:
        with work_folder(context) as folder:
            text = _text(_export(path, interpreter, context, folder))
    else:
        text = _text(path)
    document = load_pylock(text, str(path))
    markers = marker_environment(interpreter)
    check_python(document, path, interpreter, markers)
    found = tuple(packages(document, markers))
    check_wheels(found, path, interpreter)
    return Lock(path, found, document, text)


def install_lock(lock: Lock, indexes: IndexSettings, python: Path, context: Context) -> None:
    """Install a lock's packages, hashes verified, into the environment of ``python``."""
    context.report(f"installing {len(lock.packages)} packages from {lock.path.name}")
    with work_folder(context) as folder:
        path = lock.path
        if path.name == UV_LOCK:
            path = _export(path, None, context, folder)
        arguments: list[str | Path] = ["pip", "install", "--python", python, "--no-deps"]
        arguments += ["-r", path, "--preview-features", "pylock"]
        completed = run_uv(arguments, indexes, context, folder)
    if completed.returncode != 0:
        what = f"{lock.path} could not be installed"
        raise uv_error(completed.text, context, what, "write it again: launcher lock")


def write_pylock(
    request: Request, target: Path, interpreter: Interpreter, context: Context
) -> Resolution:
    """Resolve and write a ``pylock.toml``; return the resolution. EnvError if it cannot be.

    The file says for which Python and platform it is, and names files below its own folder
    relative to it, so that it can move with the model.
    """
    resolution = resolve(request, context, PYLOCK)
    marker = (
        f"python_version == '{interpreter.minor}' and sys_platform == '{sys.platform}'"
        f" and platform_machine == '{os.uname().machine}'"
        f" and implementation_name == '{interpreter.implementation}'"
    )
    text = resolution.text.replace(f'path = "{target.parent}{os.sep}', 'path = "')
    text = re.sub(
        r"^requires-python = .*$",
        lambda found: f'{found[0]}\nenvironments = ["{marker}"]',
        context.log.mask(text).replace("****@", ""),
        count=1,
        flags=re.MULTILINE,
    )
    try:
        write_atomically(target, text)
    except OSError as error:
        raise EnvError(
            f"{target} cannot be written: {error.strerror}", hint="lock a copy of the model"
        ) from error
    return resolution


def check_fresh(lock: Lock, lines: Iterable[str], interpreter: Interpreter) -> None:
    """Raise EnvError for the first requirement line that the lock contradicts."""
    from envs.managers.local import mismatch

    environment = marker_environment(interpreter)
    pins = {name: version for name, version in lock.pins.items() if version is not None}
    for line in lines:
        found = mismatch(line, pins, environment)
        if found is not None and found.installed is not None:
            raise EnvError(
                f"the requirements ask for {found.requirement}, but {lock.path} has"
                f" {found.installed}",
                hint="write it again: launcher lock",
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvError(f"the lockfile {path} cannot be read: {error}") from error


def _export(path: Path, interpreter: Interpreter | None, context: Context, folder: Path) -> Path:
    """Return a ``pylock.toml`` in ``folder`` with what a ``uv.lock`` pins."""
    target = folder / PYLOCK
    command = [context.uv, "export", "--frozen", "--format", "pylock.toml", "--no-emit-project"]
    command += ["--no-dev", "--no-header", "--no-annotate", "--project", str(path.parent)]
    command += ["--output-file", str(target), "--color", "never", "--no-python-downloads"]
    command += ["--python", interpreter.path] if interpreter is not None else []
    completed: Completed = run(
        command, log=context.log, env=clean_environ(), cwd=folder, stdout=subprocess.DEVNULL
    )
    if completed.returncode != 0:
        raise uv_error(completed.text, context, f"{path} cannot be read")
    return target
