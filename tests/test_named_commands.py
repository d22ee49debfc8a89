"""The commands and options that the pages for users name are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from launcher.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"),
    *(ROOT / "launcher" / "images" / "README.md", ROOT / "tests" / "faults" / "README.md"),
    *sorted((ROOT / "docs").glob("*.md")),
]


def lines(text: str) -> Iterator[str]:
    """The lines of a page's shell blocks, and the words that stand as code in its sentences."""
    kinds = "console|sh|shell|bash"
    for block in re.findall(rf"^```(?:{kinds})\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n…]+)`", prose)


def options_of(command: click.Command) -> set[str]:
    words = {word for each in command.params for word in (*each.opts, *each.secondary_opts)}
    return {*words, "--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_named_is_there(page: Path) -> None:
    context = click.Context(main)
    for line in lines(page.read_text(encoding="utf-8")):
        for words in re.findall(r"(?:^|[\s/($])launcher ((?:--)?[a-z][^;&#|>)]*)", line):
            names = words.split()
            while names[0].startswith("-"):  # options of all commands come first
                assert names[0] in options_of(main), line
                names = names[2 if names[0] == "--config" else 1 :]
                if not names or not names[0].islower():
                    return
            command = main.get_command(context, names[0])
            assert command is not None, line
            if isinstance(command, click.Group):
                found = command.get_command(context, names[1].split("\\")[0]) if names[1:] else None
                assert found is not None or not names[1:], line
                command = found or command
            for flag in re.findall(r"\s(--?[a-z][a-z-]*)", words.partition(" -- ")[0]):
                assert flag in options_of(command), (line, flag)
