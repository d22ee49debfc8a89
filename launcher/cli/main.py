"""The group of commands: finds them, and turns failures into one line and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from launcher.cli.installed import require_own_packages
from launcher.cli.parsing.command import Group

# Modules are no garbage: looking for some dozens of times while they are imported takes a twentieth
# of the time until a server is started.
gc.set_threshold(50_000)

# Of the variables that are options: LAUNCHER_SERVE_PORT.
PREFIX = "LAUNCHER"
# What envs raises carries no exit code: it knows of no command line.
_EXIT_ENVIRONMENT = 3
# Command: the module below this package that has it, imported when it is called, and its help.
_COMMANDS = {
    "build-docker": ("images", "Build an image that serves a model."),
    "call": ("calling", "Send a file to a served model, and print what it answers."),
    "completion": (
        "parsing.completion",
        "Print what a shell completes a command line with.",
    ),
    "diff": ("machines", "Say in what two models differ."),
    "doctor": ("machines", "Say what this machine has, and what a model would need."),
    "envs": ("environments", "List, show, run and prune cached environments."),
    "generate-dockerfile": ("images", "Write what an image that serves a model is built from."),
    "generate-manifest": ("manifests", "Write how a platform is to run a model's image."),
    "lock": ("machines", "Write a lockfile beside a model's MLmodel."),
    "logs": ("instances", "Show the log of a served model."),
    "models": ("models", "List, show, remove and prune downloaded models."),
    "ping": ("serving", "Exit with 0 once a server answers /ping."),
    "predict": ("prediction", "Score a file in the model's environment, in chunks."),
    "prepare-env": ("environments", "Build a model's environment and print its path and key."),
    "ps": ("instances", "List the models that are being served."),
    "reload": ("instances", "Load a served model anew."),
    "serve": ("serving", "Serve a model over HTTP, in an environment of its own."),
    "stop": ("instances", "Stop serving a model."),
    "update-pip-requirements": ("requirements", "Add requirements to a model, or remove them."),
}


class _Commands(Group):
    """Imports the module of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        require_own_packages()
        module = importlib.import_module(f"launcher.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _told(ctx):  # here --help is printed
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _told(ctx):
            super().invoke(ctx)
            sys.stdout.flush()


@contextmanager
def _told(ctx: click.Context) -> Iterator[None]:
    """Within the block, what ends the program becomes one line and an exit code."""
    from launcher.supervision.stop_signals import StopRequested

    try:
        yield
    except StopRequested as stop:
        ctx.exit(128 + stop.signum)
    except KeyboardInterrupt:
        ctx.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        ctx.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if ctx.obj is not None and not isinstance(error, click.exceptions.Exit):
            ctx.obj.failed(error, *_failure(error))
        if ctx.params.get("debug") or not hasattr(error, "hint"):
            raise
        _print_failure(error)
        ctx.exit(_failure(error)[2])


def _failure(error: Any) -> tuple[str, str | None, int]:
    """What is wrong, what to do, and the exit code."""
    if isinstance(error, click.ClickException):
        return error.format_message(), None, error.exit_code
    if not hasattr(error, "hint"):
        return f"{type(error).__name__}: {error}", None, 1
    return error.message, error.hint, getattr(error, "exit_code", _EXIT_ENVIRONMENT)


def _reader_has_gone() -> bool:
    """Whether nobody reads standard output any more; what is left to print is dropped then."""
    waited_for = select.poll()
    waited_for.register(1, 0)
    if not any(event & select.POLLERR for _, event in waited_for.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


def _print_failure(error: Any) -> None:
    from launcher.console import clear

    clear()
    message, hint, _ = _failure(error)
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(hint, err=True)
    log = getattr(error, "log_path", None)
    if log and log.exists():  # one that nothing was written to does not stay
        click.echo(f"Log: {log}", err=True)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX},
)
@click.version_option(package_name="mlmodel-launcher", prog_name="launcher")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="Options of commands, in a section for each: [serve], then port = 5001. TOML or YAML.  "
    "[default: launcher.toml, .yaml or .yml in the working folder]",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--outcome-fd", type=int, hidden=True)
@click.option("--lifeline-fd", type=int, hidden=True)
@click.pass_context
def main(ctx: click.Context, /, **given: Any) -> None:
    """Serve MLflow Models in the environment they were logged with, supervised.

    Each option of a command is a variable, too: LAUNCHER_, the command, the option.
    """
    if given["outcome_fd"] is not None:
        from launcher.instances.detaching import Outcome

        ctx.obj = Outcome(given["outcome_fd"])
    if given["lifeline_fd"] is not None:
        from launcher.supervision.stop_signals import stop_with

        stop_with(given["lifeline_fd"])
