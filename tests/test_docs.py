"""What README and docs name is there: files, commands, options, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from launcher.cli.main import main
from scoring_server.config import ServerConfig
from scoring_server.front.metrics import Figures, Metrics

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("launcher", "envs", "scoring_server")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command(name: str) -> click.Command | None:
    context = click.Context(main)
    return main.get_command(context, name)


def options(name: str) -> set[str]:
    found = command(name)
    assert found is not None, name
    return {word for each in found.params for word in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        path, _, heading = link.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in slugs, link


def test_what_takes_the_place_of_mlflow_is_there() -> None:
    text = (ROOT / "docs" / "migrating.md").read_text()
    rows = re.findall(
        r"^\| `[a-z][^|]*` \| `([a-z][a-z-]*)(?: (--[a-z-]+))?` \|", text, re.MULTILINE
    )
    assert len(rows) > 30
    for name, option in rows:
        assert not option or option in options(name), (name, option)
        assert command(name) is not None, name


def texts(*rooms: str) -> Iterator[str]:
    """The texts in the code, as they are written; {} stands for what is filled in."""
    for room in rooms:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (getattr(each, "value", "{}") for each in node.values)
                    yield "".join(each if isinstance(each, str) else "{}" for each in parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_the_messages_of_troubleshooting_are_the_codes() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    found = "\n".join(" ".join(text.split()) for text in texts(*ROOMS))
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 35
    for message in messages:
        parts = map(re.escape, message.split("…"))
        assert re.search("[^\n]*".join(parts), found), message


def test_each_variable_that_is_read_is_described() -> None:
    read = {text for text in texts(*ROOMS) if re.fullmatch(r"(LAUNCHER|MLFLOW)_[A-Z0-9_]+", text)}
    page = (ROOT / "docs" / "variables.md").read_text()
    described = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page))
    # Those of options are made from their names, and described with them.
    left = {name for name in read - described if not name.startswith("LAUNCHER_SERVE_")}
    assert left == set()
    assert len(read) > 25
    ours = {name for name in described if name.startswith(("LAUNCHER_", "MLFLOW_"))}
    made = {"LAUNCHER_SERVE_MODEL_URI", "LAUNCHER_CONFIG", "LAUNCHER_DEBUG"}  # by click
    assert ours - read - made - {"LAUNCHER_COMMAND_OPTION"} == set()


def test_each_metric_is_described() -> None:
    figures = Figures(0, 0, 0, 0.0, [], {}, untraced=0, lane="open", batching="on")
    metrics = Metrics(ServerConfig().server).render(figures).decode()
    page = (ROOT / "docs" / "metrics.md").read_text()
    described = re.findall(r"^\| `([a-z_]+)(?:{[a-z,]+})?` \| ([a-z]+) \|", page, re.MULTILINE)
    assert described == re.findall(r"^# TYPE (\S+) (\S+)$", metrics, re.MULTILINE)


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_each_page_is_in_the_table(index: str) -> None:
    path = ROOT / index
    linked = {
        (path.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", path.read_text())
    }
    pages = {page for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"}
    assert pages - linked == set()


def test_each_command_is_in_the_readme() -> None:
    table = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`(?:launcher )?([a-z-]+)[^`]*`", table))
    assert set(main.list_commands(click.Context(main))) - named == set()
