"""What a model would need of this machine, found out without building anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envs import EnvError, EnvStore
from envs.building.interpreters import find_interpreter
from envs.managers.registry import manager_of
from envs.pip.requirements_file import flatten
from envs.preparing import context_for, describe
from launcher.commands.environment import EnvironmentOptions, environment_spec
from launcher.commands.model_opening import ModelRequest, describe_model, identity_of
from launcher.console import Console
from launcher.engines.engine import ServerOptions
from launcher.engines.registry import engine_named
from launcher.errors import LauncherError
from launcher.inspection.findings import MISSING, OK, WARNING, Finding
from launcher.model.mlmodel import CRATE, Model

if TYPE_CHECKING:
    from envs import EnvSpec
    from envs.building.context import Context

# MLflow's switch; the server obeys it (scoring_server/model/pickle_permission.py).
_ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
_PICKLES = ("*.pkl", "*.pickle", "*.cloudpickle", "*.joblib", "*.pth", "*.pt")


def model_findings(
    request: ModelRequest, options: EnvironmentOptions, machine: Sequence[Finding] = ()
) -> list[Finding]:
    """Return what a model needs, a line each; the last one says whether it could be served.

    The model is fetched, if it is not on this machine's disk.

    :param machine: what was found out about the machine; what is missing there counts, but for an
        index where the environment is built already.
    """
    engine = engine_named("scoring_server")
    try:
        console = Console(quiet=True)
        source = request.resolve(console)
        model = request.read(source, engine, ServerOptions(), console)
        title = describe_model(model, identity_of(source, model, None))
        found = [Finding("model", OK, title.removeprefix("model "))]
        spec = environment_spec(model, options, engine)
    except (LauncherError, EnvError) as error:
        found = [Finding("model", MISSING, error.message, hint=error.hint, needed=True)]
        return [*found, _verdict(request, [*machine, *found])]
    if any(each.name == "home" and each.is_failure for each in machine):
        return [*found, _verdict(request, [*machine, *found])]  # all else is looked for there
    manager, python, requirements = _manager(spec), _python(spec, options), _requirements(spec)
    # What says already why there can be no environment.
    why = [each for each in (manager, python, requirements) if each.state != OK]
    environment, is_built = _environment(spec, options, is_told=bool(why))
    found += [
        manager,
        environment,
        *([] if is_built else [python, *_lockfile(spec, options)]),
        requirements,
        *([_r(spec)] if model.flavor == CRATE else []),
        *_pickles(model),
    ]
    counts = [each for each in machine if not (is_built and each.name == "index")]
    return [*found, _verdict(request, [*counts, *found])]


def _verdict(request: ModelRequest, found: list[Finding]) -> Finding:
    lacking = [each.name for each in found if each.is_failure]
    if lacking:
        text = f"would fail: {', '.join(dict.fromkeys(lacking))}"
        return Finding("serve", MISSING, text, hint="See the lines above.", needed=True)
    return Finding("serve", OK, f"would work: launcher serve -m {request.shown}")


def _manager(spec: EnvSpec) -> Finding:
    try:
        manager_of(spec.env_manager).check()
    except EnvError as error:
        return Finding("manager", MISSING, error.message, hint=error.hint, needed=True)
    return Finding("manager", OK, spec.env_manager)


def _environment(
    spec: EnvSpec, options: EnvironmentOptions, *, is_told: bool
) -> tuple[Finding, bool]:
    """The line on the environment, and whether it is there.

    :param is_told: whether another line says why nothing can be said here.
    """
    try:
        plan = describe(spec, offline=options.build.offline)
    except EnvError as error:
        if is_told:
            return Finding("environment", OK, "to be built"), False
        lacks = Finding("environment", MISSING, error.message, hint=error.hint, needed=True)
        return lacks, False
    if plan.env_manager == "local":
        return Finding("environment", OK, "the Python of the launcher; nothing is built"), True
    if plan.is_built:
        return Finding("environment", OK, f"{plan.key}, built already"), True
    if options.build.is_offline:
        text = f"{plan.key}, to be built, from uv's cache alone (offline)"
        return Finding("environment", WARNING, text), False
    return Finding("environment", OK, f"{plan.key}, to be built"), False


def _python(spec: EnvSpec, options: EnvironmentOptions) -> Finding:
    if spec.env_manager == "conda":
        wanted = (spec.python or "that of the launcher").strip().removeprefix("=")
        text = f"{wanted}, from the channels"
        return Finding("Python", OK, text)
    build = options.build
    context = context_for(EnvStore(), lambda _: None, offline=build.offline, python_downloads=False)
    try:
        interpreter = find_interpreter(spec.python, context)
    except EnvError as error:
        if build.is_offline or not build.python_downloads:
            return Finding("Python", MISSING, error.message, hint=error.hint, needed=True)
        return Finding("Python", WARNING, f"{spec.python} is not here: uv downloads it")
    wanted = f"{spec.python} wanted, " if spec.python not in (None, interpreter.version) else ""
    return Finding("Python", OK, f"{wanted}{interpreter.version} ({interpreter.path})")


def _lockfile(spec: EnvSpec, options: EnvironmentOptions) -> list[Finding]:
    if spec.lockfile is None:
        return []
    context = context_for(
        EnvStore(), lambda _: None, offline=options.build.offline, python_downloads=False
    )
    try:
        count = _locked(spec, spec.lockfile, context)
    except EnvError as error:
        return [Finding("lockfile", MISSING, error.message, hint=error.hint, needed=True)]
    return [Finding("lockfile", OK, f"{spec.lockfile.name}: {count} packages for this platform")]


def _locked(spec: EnvSpec, path: Path, context: Context) -> int:
    if spec.env_manager == "conda":
        from envs.managers.conda.lockfile import read_conda_lockfile
        from envs.managers.conda.machine import this_machine

        of_conda = read_conda_lockfile(path, this_machine(context).subdir)
        return len(of_conda.conda) + len(of_conda.pip)
    from envs.pip.lockfiles import read_lockfile

    return len(read_lockfile(path, find_interpreter(spec.python, context), context).chosen)


def _requirements(spec: EnvSpec) -> Finding:
    try:
        lines = flatten(spec.requirements, spec.base_dir).lines
    except EnvError as error:
        return Finding("requirements", MISSING, error.message, hint=error.hint, needed=True)
    count = len(lines) + len(spec.conda_dependencies)
    as_of = spec.resolution_date()
    text = f"{count} of the model, {len(spec.server_requirements)} of the server"
    return Finding("requirements", OK, f"{text}, as of {as_of or 'today'}")


def _r(spec: EnvSpec) -> Finding:
    if spec.env_manager == "conda":
        return Finding("R", OK, "from the conda channels")
    from envs.building.environ import clean_environ
    from launcher.engines.r_language import find_rscript, inspect

    try:
        r = inspect(find_rscript(), is_alone=False, variables=clean_environ())
    except LauncherError as error:
        return Finding("R", MISSING, error.message, hint=error.hint, needed=True)
    return Finding("R", OK, f"{r.version} ({r.rscript})")


def _pickles(model: Model) -> list[Finding]:
    """What can run code when it is read, and whether that is allowed."""
    names = sorted(path.name for kind in _PICKLES for path in model.path.rglob(kind))
    if not names:
        return []
    if os.environ.get(_ALLOW_PICKLE, "true").lower() in ("true", "1"):
        text = f"{names[0]} can run code when it is read; that is allowed"
        return [Finding("pickles", OK, text, hint=None)]
    text = f"{names[0]} can run code when it is read, and {_ALLOW_PICKLE} forbids that"
    hint = f"Set {_ALLOW_PICKLE}=true if you trust the model."
    return [Finding("pickles", MISSING, text, hint=hint, needed=True)]
