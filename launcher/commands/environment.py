"""From a Model to the environment it runs in: Model -> EnvSpec -> Environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs import EnvError, Environment, EnvSpec
from envs.building.context import is_offline
from envs.managers.registry import manager_of
from envs.spec import DEFAULT_BUILD_REQUIREMENTS, requirement_name
from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.errors import EnvironmentBuildError, ModelError, UsageError
from launcher.model.mlmodel import CRATE, Model
from launcher.model.requirements import requirements_of_conda_yaml

if TYPE_CHECKING:
    from launcher.console import Console

_MLFLOW_NAMES = ("mlflow", "mlflow-skinny")
# A look that costs nothing; what it finds is read with care.
_OLD_PYTHON = re.compile(r"[\s=]*(2|3\.[0-6])(\D|$)")


class BuildOptions(NamedTuple):
    """Keywords of `envs.prepare`; none of them decides what is in an environment.

    ``offline`` None stands for the variable LAUNCHER_OFFLINE.
    """

    offline: bool | None = None
    python_downloads: bool = True
    wheelhouse: Path | None = None

    @property
    def is_offline(self) -> bool:
        """Whether no network may be touched."""
        return is_offline(self.offline)


class EnvironmentOptions(NamedTuple):
    """How the environment is to be made; ``as_of`` is auto, today or YYYY-MM-DD.

    ``override``: requirement lines that take the place of the model's for the same packages.
    ``build`` says where its parts may come from, and decides nothing of what is inside.
    """

    env_manager: str = "virtualenv"
    install_mlflow: bool = False
    as_of: str = "auto"
    override: tuple[str, ...] = ()
    build: BuildOptions = BuildOptions()


def environment_spec(model: Model, options: EnvironmentOptions, engine: Engine) -> EnvSpec:
    """Describe the environment that ``model`` asks for and ``engine`` can serve it in.

    :raises ModelError: its conda.yaml cannot be read, where the manager reads that.
    :raises UsageError: the engine cannot be in it.
    """
    if model.flavor == CRATE and options.install_mlflow:
        raise UsageError("--install-mlflow is not for crates.", "R needs no MLflow: leave it out.")
    spec = _spec(model, options, engine)
    is_local = spec.env_manager == "local"
    if options.override:
        if is_local:
            raise UsageError(
                "Requirements cannot be overridden where nothing is installed.",
                "Leave --pip-requirements-override or --env-manager local out.",
            )
        spec = _overridden(spec, options.override)
    if not engine.instead and (is_local or not _OLD_PYTHON.match(spec.python or "")):
        return spec
    from launcher.commands import compatibility

    if not engine.instead:
        compatibility.check_python(spec, model, engine)
        return spec
    if is_local:
        compatibility.check_local(engine)
        return spec
    return compatibility.fitted(spec, model, engine)


def split_override(text: str) -> tuple[str, ...]:
    """Requirement lines from a list by commas: ``pandas==2.2.3,scipy>=1.13,<2``.

    A comma before an operator parts versions, not requirements.

    :raises UsageError: one is no requirement.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    lines = tuple(each.strip() for each in re.split(r",(?!\s*[<>=!~])", text))
    for line in lines:
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise UsageError(
                f"{line!r} is no requirement: {str(error).splitlines()[0]}.",
                "For example: --pip-requirements-override pandas==2.2.3,scipy==1.13.1",
            ) from error
    return lines


def _overridden(spec: EnvSpec, override: tuple[str, ...]) -> EnvSpec:
    """The spec with these lines in the place of its own for the same packages.

    A lockfile says another thing, and is left out. What a requirements file includes stays, and
    is held against the others by the resolver.
    """
    names = {requirement_name(line) for line in override}
    kept = tuple(line for line in spec.requirements if requirement_name(line) not in names)
    return replace(spec, requirements=(*kept, *override), lockfile=None)


def _check_pins(
    spec: EnvSpec, model: Model, options: EnvironmentOptions, engine: Engine, console: Console
) -> str | None:
    """See that what the engine needs can be resolved with what the model asks for.

    :returns: why that cannot be known, None where it is.
    :raises UsageError: it cannot.
    """
    if not engine.instead or spec.env_manager == "local":
        return None
    from envs import describe
    from launcher.commands import compatibility

    build = options.build
    try:
        if describe(spec, offline=build.offline).is_built:
            return None
    except EnvError:
        pass  # its Python is not there yet
    conda_file = model.requirements.conda_file
    if spec.conda_channels and conda_file is not None:
        lines = requirements_of_conda_yaml(model.path, conda_file).lines
        spec = replace(spec, requirements=lines, lockfile=None)
    return compatibility.check_pins(
        spec, model, engine, console, offline=build.offline, wheelhouse=build.wheelhouse
    )


def _spec(model: Model, options: EnvironmentOptions, engine: Engine) -> EnvSpec:
    uses_conda_yaml = manager_of(options.env_manager).uses_conda_yaml
    if model.flavor == CRATE and not uses_conda_yaml:
        # It asks nothing of Python: the launcher's own has what the server needs.
        return EnvSpec(env_manager="local", as_of="today", build_requirements=())
    spec = EnvSpec(
        env_manager=options.env_manager,
        server_requirements=engine.requirements,
        younger=engine.younger,
        logged_at=model.created,
        as_of=options.as_of,
        copied_packages=engine.packages if options.install_mlflow else (),
    )
    if uses_conda_yaml:
        return _of_conda_yaml(spec, model, options)
    wanted = model.requirements
    return replace(
        spec,
        python=wanted.python,
        requirements=_with_mlflow(model, options, wanted.lines),
        base_dir=wanted.base,
        build_requirements=_with_build_defaults(wanted.build),
        lockfile=_lockfile(model),
    )


def _lockfile(model: Model) -> Path | None:
    """The lockfile that the model carries."""
    if not any((model.path / name).is_file() for name in ("pylock.toml", "uv.lock")):
        return None  # as most: what reads lockfiles is slow to import
    from envs.pip.lockfiles import find_lockfile

    return find_lockfile(model.path)


def _of_conda_yaml(spec: EnvSpec, model: Model, options: EnvironmentOptions) -> EnvSpec:
    """Return the spec with what the model's conda.yaml asks for, and its conda-lock.yml."""
    from launcher.model.conda_yaml import read_conda_environment

    if model.flavor == CRATE and model.requirements.conda_file is None:
        raise ModelError(
            f"{model.path} has no conda.yaml.",
            "Leave --env-manager out: then R is found by RSCRIPT, R_HOME or PATH.",
        )
    wanted = read_conda_environment(model.requirements)
    specs = _with_r(wanted.specs) if model.flavor == CRATE else wanted.specs
    lockfile = model.path / "conda-lock.yml"
    return replace(
        spec,
        python=wanted.python,
        requirements=_with_mlflow(model, options, wanted.pip, wanted.specs),
        base_dir=model.path,
        build_requirements=(),  # conda's own
        lockfile=lockfile if lockfile.is_file() else None,
        conda_channels=wanted.channels,
        conda_dependencies=specs,
    )


def _with_r(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Add what runs crates, where it is not named: resolved with what the model asks for."""
    from launcher.engines.r_language import CONDA_PACKAGES
    from launcher.model.requirements import parse_conda_requirement

    named = {parse_conda_requirement(spec)[0] for spec in specs}
    return (*specs, *(each for each in CONDA_PACKAGES if each not in named))


def _with_mlflow(
    model: Model,
    options: EnvironmentOptions,
    lines: tuple[str, ...],
    conda_specs: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return requirement lines with what ``--install-mlflow`` adds."""
    if not options.install_mlflow or _names_mlflow(model, lines, conda_specs):
        return lines
    version = model.mlflow_version
    return (*lines, f"mlflow=={version}" if version else "mlflow")


def _with_build_defaults(build: tuple[str, ...]) -> tuple[str, ...]:
    """Add pip, setuptools and wheel where they are not named.

    A conda.yaml that names pip alone got the others with it, and old packages import
    pkg_resources without declaring setuptools.
    """
    named = {requirement_name(line) for line in build}
    return build + tuple(name for name in DEFAULT_BUILD_REQUIREMENTS if name not in named)


def _names_mlflow(model: Model, lines: tuple[str, ...], conda_specs: tuple[str, ...]) -> bool:
    from envs.pip.requirements_file import flatten

    flat = flatten(lines, model.requirements.base)
    named = [spec.rpartition("::")[2] for spec in conda_specs]
    return any(requirement_name(line) in _MLFLOW_NAMES for line in (*flat.lines, *named))


def prepare_environment(
    model: Model, options: EnvironmentOptions, engine: Engine, console: Console
) -> Environment:
    """Build or reuse the environment of ``model``, saying which on the console.

    :raises EnvironmentBuildError: it could not be built.
    """
    from envs import prepare

    if not manager_of(options.env_manager).uses_conda_yaml:
        for note in model.requirements.notes:  # on what of conda.yaml was left out
            console.warn(note)
    spec = environment_spec(model, options, engine)
    _check_pins(
        spec, model, options, engine, console
    )  # what is unknown the build says, with its log
    with build_errors():
        environment = prepare(
            spec,
            report=console.under_way,
            **options.build._asdict(),
        )
    if environment.mismatches:
        console.warn(_mismatch_warning(environment))
    console.step(
        f"environment {environment.key} ({environment.env_manager}, "
        f"Python {environment.python_version}, {len(environment.packages)} packages): "
        + ("reused" if environment.reused else "ready")
    )
    return environment


def describe_runtime(model: Model, environment: Environment, console: Console) -> dict[str, Any]:
    """What a model runs in, as the server's configuration and /info have it.

    :raises EnvironmentBuildError: it is a crate, and there is no R that can run it.
    """
    from launcher.engines.deployment import describe_environment

    described = describe_environment(environment)
    if model.flavor == CRATE:
        from launcher.engines.r_language import r_for

        r = r_for(environment)
        console.step(f"R {r.version} ({r.rscript}, {len(r.packages)} packages)")
        described["r"] = r._asdict()
    return described


@contextmanager
def build_errors() -> Iterator[None]:
    """Make of what `envs` raises within the block an error with an exit code.

    :raises EnvironmentBuildError: something was raised.
    """
    try:
        yield
    except EnvError as error:
        raise EnvironmentBuildError(error.message, error.hint, log_path=error.log_path) from error


def _mismatch_warning(environment: Environment) -> str:
    listed = ", ".join(
        f"{each.requirement} (here: {each.installed or 'missing'})"
        for each in environment.mismatches
    )
    return f"this Python differs from what the model was logged with: {listed}"


def refuse_without_requirements(model: Model, options: EnvironmentOptions) -> None:
    """See that there is something to lock or to download.

    :raises UsageError: it is a crate that runs in this machine's R.
    """
    if model.flavor == CRATE and not manager_of(options.env_manager).uses_conda_yaml:
        raise UsageError(
            "A crate asks for no Python packages, and R's come from this machine.",
            "Give it a conda.yaml, and use --env-manager conda.",
        )


def fill_wheelhouse(
    model: Model, options: EnvironmentOptions, engine: Engine, folder: Path, console: Console
) -> None:
    """Fill ``folder`` with all that the environment of ``model`` is made of.

    :raises EnvironmentBuildError: something cannot be resolved, downloaded or built.
    """
    from envs import locking

    refuse_without_requirements(model, options)
    spec = environment_spec(model, options, engine)
    with build_errors():
        wheels = locking.fill_wheelhouse(
            spec,
            folder,
            report=console.under_way,
            offline=options.build.offline,
        )
    console.step(f"{folder}: {len(wheels)} wheels; build with --wheelhouse {folder}")


def describe_plan(
    model: Model,
    options: EnvironmentOptions,
    engine: Engine,
    server: ServerOptions,
    console: Console,
) -> dict[str, Any]:
    """What ``--dry-run`` shows, as JSON has it; builds nothing.

    :raises EnvironmentBuildError: the environment cannot be planned.
    :raises UsageError: the engine cannot be in it.
    """
    from envs import describe

    spec = environment_spec(model, options, engine)
    unknown = _check_pins(spec, model, options, engine, console)
    if unknown is not None:
        needed = engine.requirements[0]
        console.warn(
            f"whether {needed} can be beside the model's requirements is unknown: {unknown}"
        )
    with build_errors():
        plan = describe(spec)
    assignment = Assignment(model, "", {}, server)
    command = engine.command(plan.path / "bin" / "python", Path(), assignment)
    described: dict[str, Any] = {
        "model": str(model.path),
        "environment": {
            "key": plan.key,
            "manager": plan.env_manager,
            "python": spec.python,
            "path": str(plan.path),
            "built": plan.is_built,
            "requirements": list(plan.requirements),
        },
        "command": list(command.argv),
        "server": {
            "address": f"{server.uds or f'{server.host}:{server.port}'}{server.root_path}",
            "workers": server.workers,
            "origins": list(server.cors_origin),
        },
    }
    if model.flavor == CRATE and plan.env_manager == "local":
        from launcher.engines.r_language import find_rscript

        described["R"] = str(find_rscript())
    return described
