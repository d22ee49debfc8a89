"""``launcher ps``, ``logs``, ``reload``, ``stop``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from launcher.cli.output import print_json, print_table
from launcher.cli.parsing.command import Command
from launcher.cli.parsing.completion import names
from launcher.cli.parsing.options import json_option
from launcher.errors import LauncherError, UsageError
from launcher.instances.control import ask, connect
from launcher.instances.registry import (
    Instance,
    describe_instance,
    find_instance,
    running_instances,
)
from launcher.supervision.log import is_same_file, latest_log, log_folder

_COLUMNS = ("name", "state", "url", "pid", "uptime", "requests", "memory", "model", "environment")


@click.command(cls=Command)
@json_option
def ps(as_json: bool) -> None:
    """List the models that are being served on this machine, by this user."""
    described = [describe_instance(instance) for instance in running_instances()]
    if as_json:
        print_json(described)
        return
    rows = [[column.upper() for column in _COLUMNS]]
    print_table(rows + [[_cell(column, each[column]) for column in _COLUMNS] for each in described])


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column == "uptime":
        return _duration(value)
    if column == "memory":
        return f"{value / 2**20:.0f} MB"
    return str(value)


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


@click.command(cls=Command)
@click.argument("name", shell_complete=names)
@click.option("-f", "--follow", is_flag=True, help="Go on until the launcher ends.")
@click.option(
    "-n", "--lines", default=100, show_default=True, type=click.IntRange(min=0), metavar="N",
    help="So many of the last lines first.",
)  # fmt: skip
def logs(name: str, follow: bool, lines: int) -> None:
    """Show the log of the served model NAME (a name or process id of ps).

    Of one that has ended, the log of its last run.
    """
    instance, path = _log_of(name)
    with path.open("rb") as log:
        for line in _last_lines(log, lines):
            click.echo(line, nl=False)
        if follow and instance is not None:
            os.lseek(log.fileno(), log.tell(), os.SEEK_SET)
            _follow(instance, log.fileno())


def _log_of(name: str) -> tuple[Instance | None, Path]:
    """The instance of that name, None if it has ended, and its log.

    :raises UsageError: there is none, and none has left a log.
    """
    try:
        instance = find_instance(name)
    except UsageError:
        path = latest_log(log_folder(), name)
        if path is None:
            raise
        click.echo(f"{name} is not being served; the log of its last run, {path}:", err=True)
        return None, path
    return instance, Path(instance.log)


def _last_lines(log: Any, number: int) -> list[bytes]:
    """The last lines of a file, reading back from its end no further than needed."""
    size = log.seek(0, 2)
    step = 1 << 16
    start = size
    data = b""
    while start and data.count(b"\n") <= number:
        start = max(0, start - step)
        log.seek(start)
        data = log.read(size - start)
    log.seek(size)
    return data.splitlines(keepends=True)[-number:] if number else []


def _follow(instance: Instance, shown: int) -> None:
    """Show what is added, each time that the launcher says that it has added something.

    :param shown: the descriptor of the log, read as far as it has been shown.
    """
    path = Path(instance.log)
    with connect(instance.control_path, {"command": "follow"}, None) as added:
        while True:
            ended = not added.recv(4096)
            _show_rest(shown)
            # The log may have been turned over: then it is another file, shown from its start.
            newest = os.open(path, os.O_RDONLY)
            if is_same_file(newest, shown):
                os.close(newest)
            else:
                os.dup2(newest, shown)
                os.close(newest)
                _show_rest(shown)
            if ended:
                return


def _show_rest(log: int) -> None:
    while chunk := os.read(log, 1 << 16):
        click.echo(chunk, nl=False)


@click.command(cls=Command)
@click.argument("name", shell_complete=names)
def reload(name: str) -> None:
    """Load the served model NAME anew, and its environment if its requirements changed."""
    instance = find_instance(name)
    answer = _ask(instance, "reload")
    if answer is None:
        raise LauncherError(f"{instance.name} ended before it was reloaded.")
    if not answer["reloaded"]:
        raise LauncherError(
            f"{instance.name} was not reloaded, the old server stays: {answer['failure']}",
            "Mend it and reload again.",
            log_path=Path(instance.log),
        )
    click.echo(f"{instance.name} has been reloaded.")


@click.command(cls=Command)
@click.argument("wanted", metavar="NAMES", nargs=-1, shell_complete=names)
@click.option("--all", "everything", is_flag=True, help="All that is being served.")
def stop(wanted: tuple[str, ...], everything: bool) -> None:
    """Stop serving NAMES; requests in flight are finished. Returns once they have ended."""
    if everything == bool(wanted):
        raise click.UsageError("Give names, or --all.")
    problems: list[LauncherError] = []
    instances = running_instances() if everything else list(_found(wanted, problems))
    stopping = []
    for instance in instances:
        try:
            _ask(instance, "stop")
        except LauncherError as error:
            problems.append(error)
        else:
            stopping.append(instance)
    for instance in stopping:
        instance.wait()
        click.echo(f"{instance.name} has stopped.")
    for problem in problems[:-1]:
        click.echo(f"Error: {problem.message}", err=True)
    if problems:
        raise problems[-1]


def _found(names: tuple[str, ...], problems: list[LauncherError]) -> Iterator[Instance]:
    """Those of the names that are being served; what is wrong with others is added."""
    for name in dict.fromkeys(names):
        try:
            yield find_instance(name)
        except UsageError as error:
            problems.append(error)


def _ask(instance: Instance, what: str) -> dict[str, Any] | None:
    try:
        return ask(instance.control_path, {"command": what})
    except OSError as error:
        raise LauncherError(
            f"{instance.name} (process {instance.pid}) does not answer: {error}.",
            "It may be just starting, or ending.",
        ) from error
