"""The command line: parse, call, print."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher import __version__
from launcher.stop_signals import StopRequested

if TYPE_CHECKING:
    from launcher.environment import EnvironmentOptions

Function = TypeVar("Function", bound=Callable[..., Any])

# Commands that live in modules of their own, imported when they are called.
_ELSEWHERE = {
    "envs": ("launcher.envs_commands", "envs", "List, show, run and prune cached environments."),
    "lock": ("launcher.envs_commands", "lock", "Write a lockfile beside a model's MLmodel."),
    "models": ("launcher.models_commands", "models", "List and prune downloaded models."),
}


class _Commands(click.Group):
    """Finds commands in other modules, and turns failures into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name, _ = _ELSEWHERE[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, _ELSEWHERE[name][2])
            if name in _ELSEWHERE
            else (name, self.commands[name].get_short_help_str(80))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StopRequested as stop:
            ctx.exit(128 + stop.signum)
        except Exception as error:
            if ctx.params.get("debug") or not hasattr(error, "hint"):
                raise
            _print_failure(error)
            ctx.exit(getattr(error, "exit_code", _EXIT_ENVIRONMENT))


# What envs raises carries no exit code: it knows of no command line.
_EXIT_ENVIRONMENT = 3


def _print_failure(error: Any) -> None:
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(error.hint, err=True)
    if getattr(error, "log_path", None):
        click.echo(f"Log: {error.log_path}", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["--help"]})
@click.version_option(__version__, prog_name="launcher")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Serve MLflow Models in the environment they were logged with, supervised."""


def _model_option(function: Function) -> Function:
    return click.option(
        "-m", "--model-uri", required=True, metavar="URI", help="The model: a folder or a URI."
    )(function)


def _environment_options(function: Function) -> Function:
    for option in reversed(
        [
            click.option(
                "--env-manager",
                type=click.Choice(["virtualenv", "uv", "conda", "local"]),
                default="virtualenv",
                show_default=True,
                help="What makes the model's environment; uv is another name for virtualenv, "
                "local is the Python that runs the launcher.",
            ),
            click.option("--no-conda", is_flag=True, help="Deprecated: --env-manager local."),
            click.option(
                "--install-mlflow",
                is_flag=True,
                help="Install the MLflow that logged the model where the model does not ask for "
                "one, and the scoring server itself.",
            ),
            click.option(
                "--resolve-as-of",
                default="auto",
                show_default=True,
                metavar="auto|today|DATE",
                help="The day whose package releases count; auto: the day the model was logged.",
            ),
        ]
    ):
        function = option(function)
    return function


def _options(
    env_manager: str, no_conda: bool, install_mlflow: bool, resolve_as_of: str
) -> EnvironmentOptions:
    from launcher.environment import EnvironmentOptions

    if no_conda:
        click.echo("--no-conda is deprecated; use --env-manager local.", err=True)
        env_manager = "local"
    return EnvironmentOptions(
        "virtualenv" if env_manager == "uv" else env_manager, install_mlflow, resolve_as_of
    )


@main.command()
@_model_option
@click.option(
    "-p", "--port", default=5000, envvar="MLFLOW_PORT", show_default=True,
    type=click.IntRange(0, 65535), help="The port; 0 picks a free one and prints it.",
)  # fmt: skip
@click.option("-h", "--host", default="127.0.0.1", envvar="MLFLOW_HOST", show_default=True)
@click.option(
    "-t", "--timeout", default=60.0, envvar="MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT",
    type=click.FloatRange(min=0), show_default=True, help="Seconds for one request; 0: no limit.",
)  # fmt: skip
@click.option(
    "-w", "--workers", default=1, envvar="MLFLOW_MODELS_WORKERS", show_default=True,
    type=click.IntRange(min=1), help="Worker processes; they share the loaded model's memory.",
)  # fmt: skip
@_environment_options
@click.option("--enable-mlserver", is_flag=True, help="Serve with MLServer (not supported yet).")
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False),
    help="Written at readiness (JSON: pid, url, environment), removed at stop.",
)  # fmt: skip
@click.option(
    "--ready-timeout", type=click.FloatRange(min=0, min_open=True),
    help="Seconds that the server may take to become ready.  [default: no limit]",
)  # fmt: skip
@click.option(
    "--graceful-timeout", default=30.0, show_default=True, type=click.FloatRange(min=0),
    help="Seconds that requests in flight have at a stop.",
)  # fmt: skip
@click.option(
    "--max-restarts", default=5, show_default=True, type=click.IntRange(min=0),
    help="Crashes within a minute after which the launcher gives up.",
)  # fmt: skip
@click.option(
    "--max-body", default=100 * 1024 * 1024, show_default=True, type=click.IntRange(min=1),
    help="Bytes that a request body may have.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan: model, key, requirements, command.")
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> None:
    """Serve a model over HTTP, in an environment of its own."""
    from launcher.console import Console
    from launcher.errors import UsageError
    from launcher.serving import ServeOptions, show_plan
    from launcher.serving import serve as run

    if given.pop("enable_mlserver"):
        raise UsageError("--enable-mlserver is not supported yet.", "Leave the flag out.")
    dry_run = given.pop("dry_run")
    environment = _options(
        *(
            given.pop(name)
            for name in ("env_manager", "no_conda", "install_mlflow", "resolve_as_of")
        )
    )
    debug = bool(ctx.parent and ctx.parent.params.get("debug"))
    options = ServeOptions(environment=environment, debug=debug, **given)
    (show_plan if dry_run else run)(options, Console())


@main.command()
@_model_option
@click.option("-i", "--input-path", help="What to score; standard input without it.")
@click.option("-o", "--output-path", help="Where the predictions go; standard output without it.")
@click.option(
    "-t", "--content-type", type=click.Choice(["csv", "json", "parquet"]),
    help="Format of the input.  [default: by its extension, else json]",
)  # fmt: skip
@_environment_options
def predict(
    model_uri: str,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    **environment: Any,
) -> None:
    """Score a file in the model's environment, in chunks."""
    from launcher.console import Console
    from launcher.prediction import predict as run

    run(
        model_uri,
        input_path=input_path,
        output_path=output_path,
        content_type=content_type,
        environment=_options(**environment),
        console=Console(),
    )


@main.command()
@_model_option
@_environment_options
def prepare_env(model_uri: str, **environment: Any) -> None:
    """Build a model's environment and print its path and key."""
    from launcher.artifacts import resolve_model
    from launcher.console import Console
    from launcher.environment import prepare_environment
    from launcher.mlmodel import read_model
    from launcher.stop_signals import stop_requests_raise

    console = Console()
    with stop_requests_raise():
        model = read_model(resolve_model(model_uri, report=console.step).path)
        built = prepare_environment(model, _options(**environment), console)
    click.echo(f"path: {built.path}")
    click.echo(f"key:  {built.key}")


@main.command()
@click.argument("url")
@click.option(
    "--wait", default=0.0, type=click.FloatRange(min=0), metavar="SECONDS",
    help="Keep asking for this long.  [default: ask once]",
)  # fmt: skip
def ping(url: str, wait: float) -> None:
    """Exit with 0 once /ping of the server at URL answers 200, with 1 if it does not in time."""
    from launcher.readiness import wait_until_ready

    problem = wait_until_ready(url, wait)
    if problem is not None:
        click.echo(f"{url} is not ready: {problem}", err=True)
        sys.exit(1)
