"""``launcher lock``, ``launcher doctor`` and ``launcher diff``: this machine and others."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.environments import engine_name
from launcher.cli.options import (
    as_of_option,
    env_manager_option,
    json_option,
    mlserver_option,
    model_options,
    offline_option,
)
from launcher.cli.output import print_json
from launcher.errors import UsageError


@click.command()
@model_options
@env_manager_option
@as_of_option
@offline_option
@mlserver_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The folder that the lockfile goes into.  [default: the model's]",
)  # fmt: skip
@click.option(
    "--platform", "platforms", multiple=True,
    type=click.Choice(["linux-64", "linux-aarch64", "osx-64", "osx-arm64"]),
    help="What the lockfile is for, several times for several in one file: Linux from glibc 2.28 "
    "on, macOS from 13.0 on.  [default: this machine]",
)  # fmt: skip
@json_option
def lock(
    model_uri: str,
    max_model_size: int | None,
    flavor: str | None,
    env_manager: str,
    as_of: str,
    offline: bool | None,
    enable_mlserver: bool,
    output: Path | None,
    platforms: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a lockfile beside a model's MLmodel: pylock.toml, for conda conda-lock.yml.

    With --platform it is for those platforms, whatever this machine is: nothing of it decides
    which packages there are. A model that was downloaded needs --output: what is in the cache is
    replaced and pruned.
    """
    from envs.locking import write_lockfile
    from launcher.commands.environment import (
        BuildOptions,
        EnvironmentOptions,
        environment_spec,
        refuse_without_requirements,
    )
    from launcher.commands.model_opening import ModelRequest, is_cached
    from launcher.console import Console, clear
    from launcher.engines.registry import engine_named
    from launcher.supervision.stop_signals import stop_requests_raise

    console, engine = Console(quiet=as_json), engine_named(engine_name(enable_mlserver))
    is_offline = BuildOptions(offline).is_offline
    with stop_requests_raise():
        request = ModelRequest(model_uri, max_model_size, is_offline, flavor)
        model = request.open(engine, console)
        if output is None and is_cached(model.path):
            raise UsageError(
                f"{model_uri} was downloaded: a lockfile in the cache would be lost.",
                "Give the folder that it is to go into, with --output, and log it with the model.",
            )
        options = EnvironmentOptions(env_manager, as_of=as_of)
        refuse_without_requirements(model, options)
        spec = environment_spec(model, options, engine)
        folder = output or model.path
        folder.mkdir(parents=True, exist_ok=True)
        written = write_lockfile(
            spec, folder, report=console.under_way, offline=is_offline, platforms=platforms
        )
        clear()
    if as_json:
        print_json({**written._asdict(), "path": str(written.path), "platforms": list(platforms)})
    else:
        meant = f" for {', '.join(platforms)}" if platforms else ""
        click.echo(f"{written.path}: {written.packages} packages{meant} as of {written.as_of}")
