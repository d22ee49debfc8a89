"""Lockfiles: pylock.toml (PEP 751, https://peps.python.org/pep-0751/) and uv.lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.pylock import Package

from envs.building.context import Context
from envs.building.environ import clean_environ
from envs.building.interpreters import Interpreter
from envs.building.process import Completed, run
from envs.disk.files import read_regular, write_atomically
from envs.errors import EnvError
from envs.pip.indexes import IndexSettings
from envs.pip.merging import environment_marker, joined, merge
from envs.pip.platforms import Platform
from envs.pip.pylock import Archive, choose, load_pylock, marker_environment
from envs.pip.resolution import Request, Resolution, resolve
from envs.pip.site_packages import is_for_elsewhere, mismatch
from envs.pip.uv import run_uv, uv_error, work_folder
from envs.spec import requirement_name

PYLOCK = "pylock.toml"
UV_LOCK = "uv.lock"
LARGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class Lockfile:
    """A lockfile that fits an interpreter.

    :param path: the lockfile as the model carries it.
    :param chosen: the packages to install, and what each is installed from.
    :param text: the lockfile as ``pylock.toml``.
    :param environment: the values of environment markers that it was chosen by.
    """

    path: Path
    chosen: tuple[tuple[Package, Archive], ...]
    text: str
    environment: Mapping[str, str]

    @property
    def pins(self) -> dict[str, str | None]:
        """Normalised names and versions; None where the lockfile gives none (folders)."""
        return {
            package.name: None if package.version is None else str(package.version)
            for package, _ in self.chosen
        }


def find_lockfile(folder: Path) -> Path | None:
    """Return the lockfile for virtualenv that a model's folder carries, or None.

    A ``uv.lock`` counts only beside its ``pyproject.toml``.
    """
    if (folder / PYLOCK).is_file():
        return folder / PYLOCK
    if (folder / UV_LOCK).is_file() and (folder / "pyproject.toml").is_file():
        return folder / UV_LOCK
    return None


def read_lockfile(
    path: Path, interpreter: Interpreter, context: Context, platform: Platform | None = None
) -> Lockfile:
    """Return what an interpreter gets of a ``pylock.toml`` or ``uv.lock``.

    :param platform: where the interpreter is; None for this machine.
    :raises EnvError: it is damaged, or for other Pythons and platforms.
    """
    if path.name == UV_LOCK:
        with work_folder(context) as folder:
            text = _text(_export(path, interpreter, context, folder))
    else:
        text = _text(path)
    chosen = choose(load_pylock(text, str(path)), str(path), interpreter, platform)
    return Lockfile(path, tuple(chosen), text, marker_environment(interpreter, platform))


def install_lockfile(
    lockfile: Lockfile, indexes: IndexSettings, python: Path, context: Context
) -> None:
    """Install a lockfile's packages, hashes verified, into the environment of ``python``.

    :raises EnvError: one cannot be had unchanged.
    """
    context.report(f"installing {len(lockfile.chosen)} packages from {lockfile.path.name}")
    with work_folder(context) as folder:
        path = lockfile.path
        if path.name == UV_LOCK:
            path = _export(path, None, context, folder)
        arguments: list[str | Path] = ["pip", "install", "--python", python, "--no-deps"]
        arguments += ["-r", path, "--preview-features", "pylock"]
        completed = run_uv(arguments, indexes, context, folder)
    if completed.returncode != 0:
        what = f"{lockfile.path} could not be installed"
        raise uv_error(completed.text, context, what, "Write it again: launcher lock.")


def resolve_missing(
    request: Request,
    lockfile: Lockfile | None,
    context: Context,
    file_format: str = "requirements.txt",
) -> Resolution:
    """Return the resolution of what a lockfile lacks of a request: of all where there is none.

    :raises EnvError: there is no solution beside what the lockfile pins.
    """
    if lockfile is None:
        return resolve(request, context, file_format)
    pins = lockfile.pins
    missing = [
        line
        for line in request.lines
        if requirement_name(line) not in {None, *pins}
        and not is_for_elsewhere(line, lockfile.environment)
    ]
    if not missing:
        return Resolution("", "lock")
    context.report(f"{lockfile.path.name} lacks {', '.join(missing)}: adding them")
    held = [f"{name}=={version}" for name, version in pins.items() if version]
    request = replace(request, lines=tuple(missing), constraints=(*request.constraints, *held))
    return resolve(request, context, file_format).without(pins)


def write_pylock(
    request: Request,
    target: Path,
    interpreter: Interpreter,
    context: Context,
    platforms: Sequence[Platform] = (),
) -> Resolution:
    """Resolve and write a ``pylock.toml``; return the resolution.

    The file says for which Python and platforms it is, and names files below its own folder
    relative to it, so that it can move with the model.

    :param platforms: what it is for, each resolved alone; of none, what the request is for.
    :raises EnvError: there is no solution, or the file cannot be written.
    """
    beside = f'path = "{target.parent}{os.sep}'
    if platforms:
        found = {
            each: resolve(replace(request, platform=each), context, PYLOCK) for each in platforms
        }
        texts = {each: one.text.replace(beside, 'path = "') for each, one in found.items()}
        resolution = joined(list(found.values()), merge(texts, interpreter))
    else:
        resolution = resolve(request, context, PYLOCK)
        text = resolution.text.replace(beside, 'path = "')
        resolution = replace(resolution, text=_for_one(text, request.platform, interpreter))
    try:
        write_atomically(target, context.log.bare(resolution.text))
    except OSError as error:
        raise EnvError(
            f"{target} cannot be written: {error.strerror}.", hint="Lock a copy of the model."
        ) from error
    return resolution


def _for_one(text: str, platform: Platform | None, interpreter: Interpreter) -> str:
    """A lock's text that says what it is for."""
    where = (
        platform.marker
        if platform is not None
        else f"sys_platform == '{sys.platform}' and platform_machine == '{os.uname().machine}'"
    )
    marker = environment_marker(where, interpreter)
    return re.sub(
        r"^requires-python = .*$",
        lambda found: f'{found[0]}\nenvironments = ["{marker}"]',
        text,
        count=1,
        flags=re.MULTILINE,
    )


def check_fresh(lockfile: Lockfile, lines: Iterable[str]) -> None:
    """Compare requirement lines with what a lockfile pins.

    :raises EnvError: the lockfile contradicts one.
    """
    pins = {name: version for name, version in lockfile.pins.items() if version is not None}
    for line in lines:
        found = mismatch(line, pins, lockfile.environment)
        if found is not None and found.installed is not None:
            raise EnvError(
                f"The requirements ask for {found.requirement}, but {lockfile.path} has"
                f" {found.installed}.",
                hint="Write it again: launcher lock.",
            )


def _text(path: Path) -> str:
    try:
        return read_regular(path, LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EnvError(f"The lockfile {path} cannot be read: {reason}.") from error


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
