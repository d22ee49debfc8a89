"""How virtual environments are made: resolved, created, filled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from envs.building.context import Context
from envs.building.environ import clean_environ
from envs.building.interpreters import Interpreter
from envs.building.process import Completed, GuardedProcess
from envs.disk.home import make_private_folder
from envs.errors import EnvError
from envs.managers.virtualenv.planning import VirtualenvPlan
from envs.managers.virtualenv.wheelhouse import stored_list
from envs.pip.lockfiles import check_fresh, install_lockfile, read_lockfile, resolve_missing
from envs.pip.resolution import install
from envs.pip.site_packages import copy_packages, installed_packages
from envs.pip.uv import uv_error
from envs.plan import Contents
from envs.spec import key_of


def build(plan: VirtualenvPlan, prefix: Path, context: Context) -> Contents:
    """Make and fill the environment of a plan (see `envs.managers.manager`)."""
    context.log.secrets.update(plan.pip.wanted.secrets)
    python = prefix / "bin" / "python"
    stored = stored_list(context.wheelhouse, key_of(plan.canonical))
    # The two do not depend on each other: the environment is made while uv resolves.
    with _creation(prefix, plan.interpreter, context) as creation:
        locked = None
        if plan.lockfile is not None and stored is None:
            locked = read_lockfile(plan.lockfile, plan.interpreter, context)
            check_fresh(locked, plan.request.lines)
        resolution = stored or resolve_missing(plan.request, locked, context)
        _check_created(creation.wait(), context)
    if locked is not None:
        install_lockfile(locked, plan.pip.wanted.indexes, python, context)
    install(resolution, plan.pip.wanted.indexes, python, context)
    site_packages = _site_packages(prefix)
    _drop_unreadable_hook(site_packages, plan.interpreter)
    copy_packages(plan.copied_packages, site_packages, context)
    return Contents(
        python=str(python.relative_to(prefix)),
        python_version=plan.interpreter.version,
        site_packages=str(site_packages.relative_to(prefix)),
        packages=installed_packages(site_packages),
        resolved=context.log.mask((locked.text if locked else "") + resolution.text),
        as_of="lock" if locked is not None else resolution.as_of,
        notes=(resolution.note,) if resolution.note else (),
    )


def _creation(prefix: Path, interpreter: Interpreter, context: Context) -> GuardedProcess:
    """Start the making of an empty environment: uv fills it, so it needs no seed packages."""
    command = [sys.executable, "-I", "-m", "virtualenv", "--no-seed", "--no-vcs-ignore"]
    command += ["--python", interpreter.path, "--no-periodic-update", str(prefix)]
    # What virtualenv learns about interpreters stays in the launcher's home, and its own
    # settings files and variables are those of another user of it.
    data = context.home / "virtualenv"
    make_private_folder(data)
    own = {
        "VIRTUALENV_OVERRIDE_APP_DATA": str(data),
        "VIRTUALENV_CONFIG_FILE": os.devnull,
    }
    inherited = clean_environ()
    env = {name: v for name, v in inherited.items() if not name.startswith("VIRTUALENV_")}
    return GuardedProcess(command, log=context.log, env={**env, **own})


def _check_created(completed: Completed, context: Context) -> None:
    if completed.returncode != 0:
        raise uv_error(
            "error: " + (completed.lines[-1] if completed.lines else "virtualenv said nothing"),
            context,
            "The environment could not be created",
        )


def _site_packages(prefix: Path) -> Path:
    found = sorted(prefix.glob("lib/*/site-packages"))
    if len(found) != 1:
        raise EnvError(f"{prefix} has {len(found)} site-packages folders instead of one.")
    return found[0]


def _drop_unreadable_hook(site_packages: Path, interpreter: Interpreter) -> None:
    """Remove virtualenv's start-up hook where the Python is too old to read it.

    It would print a traceback at every start. It guards pip against prefixes in distutils'
    settings files, and pip does not install here.
    """
    if tuple(map(int, interpreter.version.split(".")[:2])) < (3, 8):
        for name in ("_virtualenv.pth", "_virtualenv.py"):
            (site_packages / name).unlink(missing_ok=True)
