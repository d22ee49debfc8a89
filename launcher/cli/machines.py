"""``launcher lock``, ``doctor`` and ``diff``: what a model needs, here and on other machines."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import click

from launcher.cli.environments import engine_name
from launcher.cli.output import print_json
from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.option_types import DATA_PATH, MODEL_URI, PLATFORM
from launcher.cli.parsing.options import (
    as_of_option,
    env_manager_option,
    json_option,
    mlserver_option,
    model_options,
    offline_option,
)
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.inspection.differences import Change, Section, Side
    from launcher.inspection.findings import Finding

# A model that is elsewhere is fetched.
_MODEL_SECONDS = 300.0


@click.command(cls=Command)
@model_options
@in_group("Environment", env_manager_option, as_of_option, offline_option, mlserver_option)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The folder that the lockfile goes into.  [default: the model's]",
)  # fmt: skip
@click.option(
    "--platform", "platforms", multiple=True,
    type=PLATFORM,
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

    platforms = tuple(dict.fromkeys(platforms))
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
        folder = _writable(output or model.path)
        written = write_lockfile(
            spec, folder, report=console.under_way, offline=is_offline, platforms=platforms
        )
        clear()
    if as_json:
        print_json({**written._asdict(), "path": str(written.path), "platforms": list(platforms)})
    else:
        meant = f" for {', '.join(platforms)}" if platforms else ""
        click.echo(f"{written.path}: {written.packages} packages{meant} as of {written.as_of}")


def _writable(folder: Path) -> Path:
    """The folder, made if need be; before minutes go into resolving.

    :raises UsageError: no file can be put there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(prefix=".launcher-", dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to: {error.strerror}.",
            "Give a folder of yours, with --output.",
        ) from error
    return folder


@click.command(cls=Command)
@click.option(
    "-m", "--model-uri", metavar="URI", type=MODEL_URI,
    help="Also say what this model would need, and whether serve would work.",
)  # fmt: skip
@click.option(
    "--flavor",
    type=click.Choice(["python_function", "crate"]),
    help="What the model is used as, if it has both.",
)
@env_manager_option
@offline_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    model_uri: str | None,
    flavor: str | None,
    env_manager: str,
    offline: bool | None,
    as_json: bool,
) -> None:
    """Say what this machine has of what the launcher uses, and what a model would need.

    Builds nothing; with -m a model that is elsewhere is fetched. Exits with 1 where
    something is missing that is needed: with -m, for serving that model.
    """
    from launcher.commands.environment import BuildOptions, EnvironmentOptions
    from launcher.inspection.findings import Probe, run_probes
    from launcher.inspection.machine import machine_probes

    build = BuildOptions(offline)
    findings = run_probes(machine_probes(offline=build.is_offline))
    of_model: list[Finding] = []
    if model_uri is not None:
        from launcher.commands.model_opening import ModelRequest
        from launcher.inspection.model_needs import model_findings

        request = ModelRequest(model_uri, None, build.is_offline, flavor)
        options = EnvironmentOptions(env_manager, build=build)
        probe = Probe("model", "", lambda: model_findings(request, options, findings))
        of_model = run_probes([probe], _MODEL_SECONDS)
        # What ended before its last line has not said that the model could be served.
        failed = of_model[-1].name != "serve" or of_model[-1].is_failure
    else:
        failed = any(each.is_failure for each in findings)
    if as_json:
        model = {"uri": model_uri, "findings": [each.as_json() for each in of_model]}
        machine = [each.as_json() for each in findings]
        print_json({"ok": not failed, "machine": machine, "model": model if model_uri else None})
    else:
        _print_findings(findings)
        if of_model:
            click.echo()
            _print_findings(of_model)
    ctx.exit(1 if failed else 0)


def _print_findings(findings: list[Finding]) -> None:
    width = max(len(each.name) for each in findings)
    for each in findings:
        optional = each.state == "missing" and not each.needed
        state = "-" if optional else each.state
        purpose = f"  [{each.purpose}]" if each.purpose and each.state != "ok" else ""
        click.echo(f"{state:<8} {each.name:<{width}}  {each.text}{purpose}")
        if each.hint and each.state != "ok":
            click.echo(f"{'':<{width + 11}}{each.hint}")


@click.command(cls=Command)
@click.argument("a", metavar="A", type=DATA_PATH)
@click.argument("b", metavar="B", type=DATA_PATH)
@click.option(
    "--flavor",
    type=click.Choice(["python_function", "crate"]),
    help="What the models are used as, if they have both.",
)
@in_group("Environment", env_manager_option, as_of_option, offline_option)
@json_option
@click.pass_context
def diff(
    ctx: click.Context,
    a: str,
    b: str,
    flavor: str | None,
    env_manager: str,
    as_of: str,
    offline: bool | None,
    as_json: bool,
) -> None:
    """Say in what two models differ: versions, flavors, requirements, signature, environment.

    A and B are folders, or URIs as serve takes them. Exits with 0 where they are the same, with 1
    where they differ, with 2 or 3 where one cannot be read. Names, ids, days, sizes and the files
    of the models themselves are not compared.
    """
    from launcher.commands.environment import BuildOptions, EnvironmentOptions
    from launcher.commands.model_opening import ModelRequest
    from launcher.console import Console, clear
    from launcher.inspection.differences import compare, open_side
    from launcher.supervision.stop_signals import stop_requests_raise

    build = BuildOptions(offline)
    options = EnvironmentOptions(env_manager, as_of=as_of, build=build)
    console = Console(quiet=as_json)
    with stop_requests_raise():
        sides = [
            open_side(ModelRequest(uri, None, build.is_offline, flavor), options, console)
            for uri in (a, b)
        ]
        sections = compare(*sides)
        clear()
    is_same = not any(section.changes for section in sections)
    if as_json:
        print_json(
            {
                "same": is_same,
                "a": sides[0].as_json(),
                "b": sides[1].as_json(),
                "differences": {
                    section.name: [change._asdict() for change in section.changes]
                    for section in sections
                },
                "notes": {section.name: section.note for section in sections if section.note},
            }
        )
    else:
        _print_page(sides, sections)
    ctx.exit(0 if is_same else 1)


def _print_page(sides: list[Side], sections: list[Section]) -> None:
    for name, side in zip("AB", sides, strict=True):
        click.echo(f"{name}  {side.source.uri}: {side.title}")
    for section in sections:
        if section.changes:
            click.echo(f"\n{section.name}" + (f" ({section.note})" if section.note else ""))
        width = max((len(change.name) for change in section.changes), default=0)
        for change in section.changes:
            click.echo(f"  {_line(change, width)}".rstrip())
    same = [
        section.name + (f" ({section.note})" if section.note else "")
        for section in sections
        if not section.changes
    ]
    if same:
        click.echo(f"\nthe same: {', '.join(same)}")


def _line(change: Change, width: int) -> str:
    name = change.name.ljust(width)
    if change.a is None:
        return f"+ {name}  {change.b}"
    if change.b is None:
        return f"- {name}  {change.a}"
    return f"~ {name}  {change.a} -> {change.b}"
