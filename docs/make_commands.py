"""Writes ``docs/commands.md`` from the command line itself.

``python docs/make_commands.py``. What the page says is the options' own help: to change it, change
that. A test holds the page to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from launcher.cli.main import main
from launcher.cli.parsing.command import Command, group_of

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

<!-- Made by `python docs/make_commands.py` from the options' own help. -->

Every command has `--help`, which says the same, and `-h` for short (`serve -h HOST` is the host,
as in MLflow). Each option can be set by its variable or in a configuration file as well, which
every command takes with `--config FILE`: see [configuration](configuration.md), with the exit
codes. `launcher --debug COMMAND` shows tracebacks; `--debug` and `--config FILE` may be given as
`LAUNCHER_DEBUG` and `LAUNCHER_CONFIG`, too.

"""
# What a command's options are about at more length.
PAGES = {
    "call": ["[calling a served model](calling.md)"],
    "doctor": ["[this machine, and others](machines.md)"],
    "envs": ["[environments](environments.md)"],
    "generate-manifest": ["[deployment](deployment.md)"],
    "build-docker": ["[images](../launcher/images/README.md)"],
    "generate-dockerfile": ["[images](../launcher/images/README.md)"],
    "lock": ["[this machine, and others](machines.md)", "[environments](environments.md)"],
    "models": ["[model URIs](model-uris.md)"],
    "predict": ["[model URIs](model-uris.md)", "[the scoring protocol](scoring-protocol.md)"],
    "prepare-env": ["[environments](environments.md)"],
    "serve": [
        *("[model URIs](model-uris.md)", "[environments](environments.md)"),
        *("[deployment](deployment.md)", "[models of R](models-of-r.md)"),
        *("[a page to try the model in](page.md)", "[MLServer](mlserver.md)"),
    ],
}


def contexts(
    group: click.Group = main, above: click.Context | None = None
) -> Iterator[click.Context]:
    """The contexts of all commands that are no groups, wide enough to print each text in a line."""
    context = click.Context(
        group, above, info_name="launcher" if above is None else group.name,
        terminal_width=10_000, max_content_width=10_000, **group.context_settings,
    )  # fmt: skip
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from contexts(command, context)
        else:
            yield click.Context(command, context, info_name=name)


def page() -> str:
    """The page's text."""
    listed, sections = ["| command | what it does |", "| --- | --- |"], []
    for context in contexts():
        anchor = re.sub(r"[^a-z-]", "", context.command_path.replace(" ", "-"))
        what = context.command.get_short_help_str(300)
        listed.append(f"| [`{context.command_path}`](#{anchor}) | {_cell(what)} |")
        sections.append(_section(context))
    return HEAD + "\n".join(listed) + "\n\n" + "\n".join(sections)


def _section(context: click.Context) -> str:
    command = context.command
    assert isinstance(command, Command)
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = (command.help or "").split("\n\n")
    lines = [f"## {context.command_path}", "", f"`{context.command_path} {usage}`", ""]
    for each in paragraphs:
        lines += [" ".join(each.split()), ""]
    groups: dict[str, list[str]] = {}
    for option in command.settable():
        record = option.get_help_record(context)
        assert record is not None
        variables = ", ".join(f"`{each}`" for each in command.variables_of(context, option))
        row = f"| `{_cell(record[0])}` | {_cell(record[1])} | {variables} |"
        groups.setdefault(group_of(option), []).append(row)
    for title, rows in groups.items():
        lines += [f"| {title} | | variable |", "| --- | --- | --- |", *rows, ""]
    words = context.command_path.split()
    pages = PAGES.get(words[1], [])
    if pages:
        lines += ["See " + ", ".join(pages) + ".", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
