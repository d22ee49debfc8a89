"""The command line: parse, call, print."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.cli.option_types import ENV_MANAGER, SIZE
from launcher.commands.options import BuildOptions, build_options
from launcher.supervision.stop_signals import StopRequested

if TYPE_CHECKING:
    from launcher.commands.environment import EnvironmentOptions

Function = TypeVar("Function", bound=Callable[..., Any])

# Commands that live in modules of their own, imported when they are called.
_ELSEWHERE = {
    "envs": ("launcher.cli.envs", "envs", "List, show, run and prune cached environments."),
    "lock": ("launcher.cli.envs", "lock", "Write a lockfile beside a model's MLmodel."),
    "logs": ("launcher.cli.instances", "logs", "Show the log of a served model."),
    "models": ("launcher.cli.models", "models", "List and prune downloaded models."),
    "ps": ("launcher.cli.instances", "ps", "List the models that are being served."),
    "reload": ("launcher.cli.instances", "reload", "Load a served model anew."),
    "stop": ("launcher.cli.instances", "stop", "Stop serving a model."),
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
@click.version_option(package_name="mlmodel-launcher", prog_name="launcher")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Serve MLflow Models in the environment they were logged with, supervised."""


def _loader_option(function: Function) -> Function:
    return click.option(
        "--loader",
        type=click.Choice(["auto", "mlflow"]),
        default="auto",
        show_default=True,
        help="auto reads the files of known flavors without importing MLflow; mlflow never does.",
    )(function)


def _model_options(function: Function) -> Function:
    for option in (
        click.option(
            "--max-model-size", metavar="SIZE", type=SIZE,
            help="Refuse a model that is larger, such as 20GB.  [default: no limit]",
        ),
        click.option(
            "-m", "--model-uri", required=True, metavar="URI", help="The model: a folder or a URI."
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def _environment_options(function: Function) -> Function:
    function = build_options(function)
    for option in reversed(
        [
            click.option(
                "--env-manager",
                type=ENV_MANAGER,
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


def _take_environment_options(given: dict[str, Any]) -> EnvironmentOptions:
    """Take what ``_environment_options`` added out of the options of a command."""
    from launcher.commands.environment import EnvironmentOptions

    manager = given.pop("env_manager")
    if given.pop("no_conda"):
        click.echo("--no-conda is deprecated; use --env-manager local.", err=True)
        manager = "local"
    return EnvironmentOptions(
        manager,
        given.pop("install_mlflow"),
        given.pop("resolve_as_of"),
        BuildOptions(*(given.pop(each.name) for each in fields(BuildOptions))),
    )


def _workers(value: str) -> int:
    if value == "auto":
        from launcher.cpu_limits import available_cpus

        return available_cpus()
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'auto'.")
    return int(value)


@main.command()
@_model_options
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
    "-w", "--workers", default="1", envvar="MLFLOW_MODELS_WORKERS", show_default=True,
    metavar="N|auto", callback=lambda _ctx, _param, value: _workers(value),
    help="Worker processes; they share the loaded model's memory. auto: as many as CPUs may be "
    "used here.",
)  # fmt: skip
@click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(min=1),
    help="Requests that a worker's model answers at a time.",
)  # fmt: skip
@click.option(
    "--max-batch-rows", default=0, type=click.IntRange(min=0), metavar="N",
    help="Let requests that wait while the model is busy share one prediction of up to N rows; "
    "for models that answer each row by itself.  [default: no batching]",
)  # fmt: skip
@click.option(
    "--batch-wait", default=0.0, type=click.FloatRange(min=0), metavar="MS",
    help="Milliseconds that a request waits for others although the model is idle.  [default: 0]",
)  # fmt: skip
@click.option(
    "--preload/--no-preload", default=None,
    help="Load the model once and fork workers from it, or load it in each worker.  "
    "[default: once, unless it has threads or a CUDA context]",
)  # fmt: skip
@click.option(
    "--backlog", default=512, show_default=True, type=click.IntRange(min=0),
    help="Requests that may wait for a worker; one more is refused with 503.",
)  # fmt: skip
@click.option(
    "--max-requests", default=0, type=click.IntRange(min=0),
    help="Replace a worker after that many requests.  [default: never]",
)  # fmt: skip
@click.option(
    "--max-requests-jitter", default=0, type=click.IntRange(min=0),
    help="Up to that many more, at random, so that workers are not replaced all at once.",
)  # fmt: skip
@_loader_option
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
    "--liveness-timeout", default=30.0, show_default=True, type=click.FloatRange(min=0),
    help="Seconds without an answer to /ping after which the server is replaced; 0: never.",
)  # fmt: skip
@click.option(
    "--max-restarts", default=5, show_default=True, type=click.IntRange(min=0),
    help="Crashes within a minute after which the launcher gives up.",
)  # fmt: skip
@click.option(
    "--max-body", default=100 * 1024 * 1024, show_default=True, type=click.IntRange(min=1),
    help="Bytes that a request body may have.",
)  # fmt: skip
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False),
    help="Clients must send the token in this file (Authorization: Bearer ...) to all but /ping "
    "and /health.",
)  # fmt: skip
@click.option(
    "--tls-cert", type=click.Path(path_type=Path, dir_okay=False),
    help="Serve https with this certificate chain (PEM).",
)  # fmt: skip
@click.option(
    "--tls-key", type=click.Path(path_type=Path, dir_okay=False),
    help="The certificate's private key, where it is in a file of its own (PEM).",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
)  # fmt: skip
@click.option(
    "--access-log", is_flag=True,
    help="Log every request; without it, those that are slow or fail here (5xx).",
)  # fmt: skip
@click.option(
    "--slow-request", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Log requests that take longer, marked as slow.",
)  # fmt: skip
@click.option(
    "--watch", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Ask that often whether the model URI leads to another model now, and reload then.",
)  # fmt: skip
@click.option("--name", help="Name for ps, logs, reload and stop.  [default: the model's]")
@click.option("--detach", is_flag=True, help="Serve in the background; return once ready.")
@click.option("--log-file", type=click.Path(path_type=Path), hidden=True)
@click.option("--outcome-fd", type=int, hidden=True)
@click.option("--dry-run", is_flag=True, help="Print the plan: model, key, requirements, command.")
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> None:
    """Serve a model over HTTP, in an environment of its own."""
    from launcher.commands.serving import ServeOptions, serve_detached, show_plan
    from launcher.commands.serving import serve as run
    from launcher.console import Console
    from launcher.errors import UsageError

    if given.pop("enable_mlserver"):
        raise UsageError("--enable-mlserver is not supported yet.", "Leave the flag out.")
    if given["max_batch_rows"] and given["threads"] > 1:
        raise UsageError(
            "--max-batch-rows and --threads do not go together: a batch is one prediction.",
            "Leave one of them out.",
        )
    dry_run, detach = given.pop("dry_run"), given.pop("detach")
    environment = _take_environment_options(given)
    debug = bool(ctx.parent and ctx.parent.params.get("debug"))
    options = ServeOptions(environment=environment, debug=debug, **given)
    console = Console(as_json=options.log_format == "json")
    if dry_run:
        show_plan(options, console)
    elif detach:
        serve_detached(options, console)
    else:
        run(options, console)


@main.command()
@_model_options
@click.option("-i", "--input-path", help="What to score; standard input without it.")
@click.option("-o", "--output-path", help="Where the predictions go; standard output without it.")
@click.option(
    "-t", "--content-type", type=click.Choice(["csv", "json", "parquet"]),
    help="Format of the input.  [default: by its extension, else json]",
)  # fmt: skip
@_loader_option
@_environment_options
def predict(
    model_uri: str,
    max_model_size: int | None,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    loader: str,
    **given: Any,
) -> None:
    """Score a file in the model's environment, in chunks."""
    from launcher.commands.model_opening import ModelRequest
    from launcher.commands.prediction import predict as run
    from launcher.console import Console

    environment = _take_environment_options(given)
    run(
        ModelRequest(model_uri, max_model_size, environment.build.is_offline),
        input_path=input_path,
        output_path=output_path,
        content_type=content_type,
        loader=loader,
        environment=environment,
        console=Console(),
    )


@main.command()
@_model_options
@_environment_options
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False),
    help="With --install-mlflow: also write the configuration with which the environment serves "
    "by itself (PYTHON -m scoring_server CONFIG).",
)  # fmt: skip
@click.option(
    "--download", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Fill a folder with all that the environment is made of, for --wheelhouse on a machine "
    "without a network, and build nothing.",
)  # fmt: skip
def prepare_env(
    model_uri: str,
    max_model_size: int | None,
    config: Path | None,
    download: Path | None,
    **given: Any,
) -> None:
    """Build a model's environment and print its path and key."""
    from launcher.commands.serving import ServeOptions, prepare, prepare_wheelhouse
    from launcher.console import Console
    from launcher.errors import UsageError

    environment = _take_environment_options(given)
    if config is not None and not environment.install_mlflow:
        raise UsageError(
            "--config needs --install-mlflow: without it the scoring server is not in the "
            "environment.",
            "Add --install-mlflow.",
        )
    options = ServeOptions(model_uri, environment=environment, max_model_size=max_model_size)
    if download is not None:
        prepare_wheelhouse(options, Console(), download)
        return
    built = prepare(options, Console(), config)
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
    from launcher.supervision.readiness import wait_until_ready

    problem = wait_until_ready(url, wait)
    if problem is not None:
        click.echo(f"{url} is not ready: {problem}", err=True)
        sys.exit(1)
