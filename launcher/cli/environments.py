"""``launcher prepare-env`` and ``launcher envs ...``."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.output import print_json, print_table
from launcher.cli.parsing.command import Command, Group, in_group
from launcher.cli.parsing.completion import keys
from launcher.cli.parsing.options import (
    environment_options,
    json_option,
    mlserver_option,
    model_options,
    prune_options,
    take_environment_options,
)
from launcher.errors import LauncherError, UsageError
from launcher.quantities import format_size

if TYPE_CHECKING:
    from envs import EnvStore
    from envs.inventory import Entry, Removal

_key_argument = click.argument("key", metavar="KEY", shell_complete=keys)


@click.group(cls=Group)
def envs() -> None:
    """List, show, run and prune cached environments."""


@envs.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the environments, the last used first."""
    from envs.inventory import entries, total_size

    listed = entries(_store())
    if as_json:
        total = total_size(listed)
        print_json({"total_size": total, "environments": [entry.as_json() for entry in listed]})
    elif not listed:
        click.echo("no environments yet")
    else:
        print_table(_rows(listed))
        shared = " (shared files counted once)"
        noun = "environment" if len(listed) == 1 else "environments"
        click.echo(f"{len(listed)} {noun}, {format_size(total_size(listed))}{shared}")


@envs.command()
@_key_argument
@click.option("--lock", is_flag=True, help="Print the resolved list with its hashes, nothing else.")
@json_option
def show(key: str, lock: bool, as_json: bool) -> None:
    """Show an environment: what it was made from, who uses it, and its packages."""
    from envs.store.manifest import read_manifest
    from launcher.instances.registry import running_instances

    store, key = _resolved(key)
    manifest = read_manifest(store.folder(key))
    if manifest is None:
        raise LauncherError(
            f"Environment {key} is not complete: a build of it died, or is running.",
            "`launcher envs prune` removes what dead builds left.",
        )
    if as_json:
        print_json(manifest)
        return
    if lock:
        click.echo(manifest["resolved"].rstrip())
        return
    for name in ("key", "manager", "python_version", "created", "prefix"):
        click.echo(f"{name.replace('_', ' ') + ':':<16}{manifest[name]}")
    click.echo(f"{'resolved as of:':<16}{manifest['as_of']}")
    for note in manifest["notes"]:
        click.echo(f"{'note:':<16}{note}")
    for instance in running_instances():
        if instance.environment == key:
            served = f"{instance.model_uri} (as {instance.name}, process {instance.pid})"
            click.echo(f"{'serves:':<16}{served}")
    packages = [f"{name}=={version}" for name, version in sorted(manifest["packages"].items())]
    click.echo(f"\n{len(packages)} packages; --lock shows them with their hashes:")
    _print_columns(packages)


@envs.command()
@_key_argument
@json_option
def path(key: str, as_json: bool) -> None:
    """Print an environment's folder."""
    environment = _usable(key)
    if as_json:
        print_json({"path": str(environment.path), "python": str(environment.python)})
    else:
        click.echo(environment.path)


@envs.command(context_settings={"ignore_unknown_options": True})
@_key_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(key: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in an environment: `launcher envs run KEY -- python -V`."""
    from envs import environ

    environment = _usable(key)
    variables = environ(environment, warn=lambda line: click.echo(f"warning: {line}", err=True))
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        raise UsageError(
            f"There is no command {command[0]} in {environment.python.parent} or on PATH."
        )
    if environment.mark is not None:
        # The command takes this process over, and with the descriptor the mark of being in use.
        os.set_inheritable(environment.mark.fileno(), True)
    os.execve(program, command, variables)


@envs.command()
@click.argument("chosen", metavar="KEY...", nargs=-1, required=True, shell_complete=keys)
@json_option
def remove(chosen: tuple[str, ...], as_json: bool) -> None:
    """Remove environments that no process uses."""
    from envs import EnvError
    from envs.inventory import remove as remove_one

    removed = []
    resolved = [_resolved(key) for key in chosen]
    for store, key in resolved:
        try:
            removed.append(remove_one(store, key))
        except EnvError as error:
            raise LauncherError(error.message, error.hint) from error
    _print_removed(removed, "removed", as_json)


@envs.command()
@prune_options
@json_option
def prune(older_than: float | None, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what dead builds left, damaged environments, and on request unused ones.

    What a live process uses or builds stays. conda packages that no environment has any more go
    from their cache as well.
    """
    from envs.inventory import prune as prune_all

    removed = prune_all(_store(), older_than=older_than, max_size=max_size, dry_run=dry_run)
    _print_removed(removed, "would remove" if dry_run else "removed", as_json)


@click.command(cls=Command)
@model_options
@environment_options
@mlserver_option
@in_group(
    "Output",
    click.option(
        "--server-config", "--config", "config", metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --install-mlflow: also write the configuration with which the environment "
        "serves by itself (PYTHON -m scoring_server FILE). --config is its old name: a "
        "configuration file of the launcher goes before the command.",
    ),
    click.option(
        "--download", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help="Fill a folder with all that the environment is made of, for --wheelhouse on a "
        "machine without a network, and build nothing.",
    ),
    json_option,
)  # fmt: skip
def prepare_env(
    model_uri: str,
    max_model_size: int | None,
    flavor: str | None,
    config: Path | None,
    download: Path | None,
    enable_mlserver: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Build a model's environment and print its path and key."""
    from launcher.commands.model_opening import ModelRequest
    from launcher.commands.preparing import prepare, prepare_wheelhouse
    from launcher.console import Console
    from launcher.errors import UsageError

    environment = take_environment_options(given)
    if config is not None and config.suffix in (".toml", ".yaml", ".yml"):
        raise UsageError(
            f"{config} would be written: the server's configuration is JSON.",
            f"To read it: `launcher --config {config} prepare-env`.",
        )
    if config is not None and not environment.install_mlflow:
        raise UsageError(
            "--server-config needs --install-mlflow: without it the scoring server is not in the "
            "environment.",
            "Add --install-mlflow.",
        )
    if config is not None and enable_mlserver:
        raise UsageError(
            "--server-config is for the launcher's own server, not for MLServer.",
            "Leave one of them out.",
        )
    engine = engine_name(enable_mlserver)
    request = ModelRequest(model_uri, max_model_size, environment.build.is_offline, flavor)
    if download is not None:
        if as_json:
            raise UsageError("--json does not go with --download.", "Leave one of them out.")
        prepare_wheelhouse(request, environment, Console(), download, engine)
        return
    built = prepare(request, environment, Console(), config, engine)
    if as_json:
        print_json({"path": str(built.path), "key": built.key, "python": str(built.python)})
        return
    click.echo(f"path: {built.path}")
    click.echo(f"key:  {built.key}")


def engine_name(enable_mlserver: bool) -> str:
    """The name of the engine that the flag asks for."""
    return "mlserver" if enable_mlserver else "scoring_server"


def _store() -> EnvStore:
    from envs import EnvStore

    return EnvStore()


def _resolved(text: str) -> tuple[EnvStore, str]:
    """The store and the key that ``text`` begins.

    :raises UsageError: there is none, or more than one.
    """
    from envs import EnvError
    from envs.inventory import resolve_key

    store = _store()
    try:
        return store, resolve_key(store, text)
    except EnvError as error:
        raise UsageError(error.message, error.hint) from error


def _usable(text: str) -> Any:
    """The complete environment of a key, marked as in use."""
    store, key = _resolved(text)
    environment = store.find(key)
    if environment is None:
        raise LauncherError(
            f"Environment {key} is not complete, or damaged.",
            "Serve its model again to rebuild it.",
        )
    return environment


def _rows(listed: list[Entry]) -> list[tuple[str, ...]]:
    now = time.time()
    rows: list[tuple[str, ...]] = [
        ("KEY", "MANAGER", "PYTHON", "PACKAGES", "SIZE", "CREATED", "LAST USED", "IN USE BY")
    ]
    for entry in listed:
        state = ", ".join(map(str, entry.users)) or ("" if entry.state == "complete" else "-")
        rows.append(
            (
                entry.key,
                entry.env_manager or entry.state,
                entry.python_version or "-",
                str(entry.packages or "-"),
                format_size(entry.size),
                human_age(now - entry.created) if entry.created else "-",
                human_age(now - entry.last_used),
                state if entry.state == "complete" else f"{state} {entry.state}",
            )
        )
    return rows


def _print_columns(words: list[str]) -> None:
    """Print words below each other, in as many columns as the terminal takes."""
    widest = max(map(len, words), default=0) + 2
    columns = max(shutil.get_terminal_size().columns // widest, 1)
    height = -(-len(words) // columns)
    for row in range(height):
        click.echo("".join(word.ljust(widest) for word in words[row::height]).rstrip())


def _print_removed(removed: list[Removal], verb: str, as_json: bool) -> None:
    if as_json:
        print_json([removal.__dict__ for removal in removed])
        return
    for removal in removed:
        click.echo(f"{verb} {removal.name} ({format_size(removal.size)}): {removal.reason}")
    if not removed:
        click.echo("nothing to remove")


def human_age(seconds: float) -> str:
    """A time in seconds that has passed, for people: 3 days ago."""
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
