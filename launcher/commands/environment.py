"""From a Model to the environment it runs in: Model -> EnvSpec -> Environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from envs import EnvError, Environment, EnvSpec
from envs.managers.registry import manager_of
from envs.spec import DEFAULT_BUILD_REQUIREMENTS, requirement_name
from launcher.commands.options import BuildOptions
from launcher.errors import EnvironmentBuildError
from launcher.model.mlmodel import Model

if TYPE_CHECKING:
    from launcher.console import Console

# Wide on purpose: these join the model's own resolution, and the model's pins win.
SERVER_REQUIREMENTS = (
    "flask>=1.0",
    "pandas>=1.0",
    "numpy",
    # Three times faster than the standard library on requests of many rows. Where it has no wheels,
    # the server does without.
    "orjson>=3.9.15; python_version >= '3.8' and platform_python_implementation == 'CPython'"
    " and platform_machine in 'x86_64 AMD64 aarch64 arm64'",
)
# Not of the model's day: earlier releases overflow the stack on deeply nested JSON.
UNDATED_REQUIREMENTS = ("orjson",)
SCORING_SERVER = Path(__file__).resolve().parents[2] / "scoring_server"
_MLFLOW_NAMES = ("mlflow", "mlflow-skinny")


@dataclass(frozen=True)
class EnvironmentOptions:
    """How the environment is to be made; ``as_of`` is auto, today or YYYY-MM-DD.

    ``build`` says where its parts may come from, and decides nothing of what is inside.
    """

    env_manager: str = "virtualenv"
    install_mlflow: bool = False
    as_of: str = "auto"
    build: BuildOptions = field(default_factory=BuildOptions)


def environment_spec(model: Model, options: EnvironmentOptions) -> EnvSpec:
    """Describe the environment that ``model`` asks for.

    :raises ModelError: its conda.yaml cannot be read, where the manager reads that.
    """
    if manager_of(options.env_manager).uses_conda_yaml:
        return _conda_spec(model, options)
    wanted = model.requirements
    lines, copied = _with_mlflow(model, options, wanted.lines)
    return EnvSpec(
        env_manager=options.env_manager,
        python=wanted.python,
        requirements=lines,
        base_dir=wanted.base,
        build_requirements=_with_build_defaults(wanted.build),
        server_requirements=SERVER_REQUIREMENTS,
        undated=UNDATED_REQUIREMENTS,
        logged_at=model.created,
        as_of=options.as_of,
        copied_packages=copied,
        lockfile=_lockfile(model),
    )


def _lockfile(model: Model) -> Path | None:
    """The lockfile that the model carries."""
    if not any((model.path / name).is_file() for name in ("pylock.toml", "uv.lock")):
        return None  # as most: what reads lockfiles is slow to import
    from envs.pip.lockfiles import find_lockfile

    return find_lockfile(model.path)


def _conda_spec(model: Model, options: EnvironmentOptions) -> EnvSpec:
    """Describe the environment of the model's conda.yaml, or of its conda-lock.yml."""
    from launcher.model.conda_yaml import read_conda_environment

    wanted = read_conda_environment(model.requirements)
    lines, copied = _with_mlflow(model, options, wanted.pip, wanted.specs)
    lockfile = model.path / "conda-lock.yml"
    return EnvSpec(
        env_manager=options.env_manager,
        python=wanted.python,
        requirements=lines,
        base_dir=model.path,
        build_requirements=(),  # conda's own
        server_requirements=SERVER_REQUIREMENTS,
        undated=UNDATED_REQUIREMENTS,
        logged_at=model.created,
        as_of=options.as_of,
        copied_packages=copied,
        lockfile=lockfile if lockfile.is_file() else None,
        conda_channels=wanted.channels,
        conda_dependencies=wanted.specs,
    )


def _with_mlflow(
    model: Model,
    options: EnvironmentOptions,
    lines: tuple[str, ...],
    conda_specs: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return requirement lines and folders to copy, with what ``--install-mlflow`` adds."""
    if not options.install_mlflow:
        return lines, ()
    if not _names_mlflow(model, lines, conda_specs):
        version = model.mlflow_version
        lines = (*lines, f"mlflow=={version}" if version else "mlflow")
    return lines, (SCORING_SERVER,)


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


def prepare_environment(model: Model, options: EnvironmentOptions, console: Console) -> Environment:
    """Build or reuse the environment of ``model``, saying which on the console.

    :raises EnvironmentBuildError: it could not be built.
    """
    from envs import prepare

    if not manager_of(options.env_manager).uses_conda_yaml:
        for note in model.requirements.notes:  # on what of conda.yaml was left out
            console.warn(note)
    try:
        environment = prepare(
            environment_spec(model, options),
            report=console.under_way,
            **options.build.keywords(),
        )
    except EnvError as error:
        raise EnvironmentBuildError(error.message, error.hint, log_path=error.log_path) from error
    if environment.mismatches:
        console.warn(_mismatch_warning(environment))
    console.step(
        f"environment {environment.key} ({environment.env_manager}, "
        f"Python {environment.python_version}, {len(environment.packages)} packages): "
        + ("reused" if environment.reused else "ready")
    )
    return environment


def _mismatch_warning(environment: Environment) -> str:
    listed = ", ".join(
        f"{each.requirement} (here: {each.installed or 'missing'})"
        for each in environment.mismatches
    )
    return f"this Python differs from what the model was logged with: {listed}"


def describe_plan(model: Model, options: EnvironmentOptions) -> list[str]:
    """The lines of ``--dry-run`` on the model and its environment; builds nothing."""
    from envs import describe
    from launcher.engines.scoring_server import scoring_server_argv

    spec = environment_spec(model, options)
    try:
        plan = describe(spec)
    except EnvError as error:
        raise EnvironmentBuildError(error.message, error.hint, log_path=error.log_path) from error
    python = plan.path / "bin" / "python"
    command = scoring_server_argv(python, Path("CONFIG.json"))
    return [
        f"model         {model.path}",
        f"environment   {plan.key} ({plan.env_manager}, Python"
        f" {spec.python or 'of the launcher'}), "
        + ("built already" if plan.is_built else "to be built"),
        f"path          {plan.path}",
        *(f"requirement   {line}" for line in plan.requirements),
        f"command       {' '.join(command)}",
    ]
