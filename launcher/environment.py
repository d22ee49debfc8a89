"""From a Model to the environment it runs in: Model -> EnvSpec -> Environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs import EnvError, Environment, EnvSpec
from envs.spec import DEFAULT_BUILD_REQUIREMENTS, requirement_name
from launcher.errors import EnvironmentBuildError, UsageError
from launcher.mlmodel import Model

if TYPE_CHECKING:
    from launcher.console import Console

# Wide on purpose: these join the model's own resolution, and the model's pins win.
SERVER_REQUIREMENTS = ("flask>=1.0", "gunicorn>=20.1", "pandas>=1.0", "numpy")
# Of these a newer release than the model's day is better: it still serves old Python versions.
UNDATED_REQUIREMENTS = ("gunicorn",)
SCORING_SERVER = Path(__file__).resolve().parents[1] / "scoring_server"
_MLFLOW_NAMES = ("mlflow", "mlflow-skinny")


@dataclass(frozen=True)
class EnvironmentOptions:
    """How the environment is to be made; ``resolve_as_of`` is auto, today or YYYY-MM-DD."""

    manager: str = "virtualenv"
    install_mlflow: bool = False
    resolve_as_of: str = "auto"


def environment_spec(model: Model, options: EnvironmentOptions) -> EnvSpec:
    """Describe the environment that ``model`` asks for.

    :raises UsageError: the options do not go together.
    """
    wanted = model.requirements
    if options.manager == "conda":
        raise UsageError(
            "The environment manager conda is not supported yet.",
            "Use --env-manager virtualenv; it reads conda.yaml too.",
        )
    lines = list(wanted.lines)
    copied: tuple[Path, ...] = ()
    if options.install_mlflow:
        copied = (SCORING_SERVER,)
        if not _names_mlflow(model):
            version = model.mlflow_version
            lines.append(f"mlflow=={version}" if version else "mlflow")
    return EnvSpec(
        manager=options.manager,
        python=wanted.python,
        requirements=tuple(lines),
        base_dir=wanted.base,
        build_requirements=_with_build_defaults(wanted.build),
        server_requirements=SERVER_REQUIREMENTS,
        undated=UNDATED_REQUIREMENTS,
        as_of=model.created,
        resolve_as_of=options.resolve_as_of,
        copied_packages=copied,
    )


def _with_build_defaults(build: tuple[str, ...]) -> tuple[str, ...]:
    """Add pip, setuptools and wheel where they are not named.

    A conda.yaml that names pip alone got the others with it, and old packages import
    pkg_resources without declaring setuptools.
    """
    named = {requirement_name(line) for line in build}
    return build + tuple(name for name in DEFAULT_BUILD_REQUIREMENTS if name not in named)


def _names_mlflow(model: Model) -> bool:
    from envs.requirements import flatten

    flat = flatten(model.requirements.lines, model.requirements.base)
    return any(requirement_name(line) in _MLFLOW_NAMES for line in flat.lines)


def prepare_environment(model: Model, options: EnvironmentOptions, console: Console) -> Environment:
    """Build or reuse the environment of ``model``, saying which on the console.

    :raises EnvironmentBuildError: it could not be built.
    """
    from envs import prepare

    for note in model.requirements.notes:
        console.warn(note)
    try:
        environment = prepare(environment_spec(model, options), report=console.under_way)
    except EnvError as error:
        raise EnvironmentBuildError(error.message, error.hint, log_path=error.log_path) from error
    if environment.mismatches:
        console.warn(_mismatch_warning(environment))
    console.step(
        f"environment {environment.key} ({environment.manager}, "
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
    from launcher.backends import scoring_server_command

    try:
        plan = describe(environment_spec(model, options))
    except EnvError as error:
        raise EnvironmentBuildError(error.message, error.hint, log_path=error.log_path) from error
    python = plan.path / "bin" / "python"
    command = scoring_server_command(python, Path("CONFIG.json"))
    return [
        f"model         {model.path}",
        f"environment   {plan.key} ({plan.manager}, Python {model.requirements.python or 'any'}), "
        + ("built already" if plan.is_built else "to be built"),
        f"path          {plan.path}",
        *(f"requirement   {line}" for line in plan.requirements),
        f"command       {' '.join(command.argv)}",
    ]
