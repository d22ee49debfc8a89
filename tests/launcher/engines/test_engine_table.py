"""What each engine has: the table of docs/mlserver.md against what the engines say themselves."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.engines.engine import ServerOptions
from launcher.engines.registry import ENGINES, engine_named

PAGE = Path(__file__).resolve().parents[3] / "docs" / "mlserver.md"
ANOTHER_NAME = {"preload": "--no-preload", "page": "--no-page"}


def rows() -> list[list[str]]:
    """The table's cells, the heading first."""
    found = re.search(
        r"<!-- engines: begin -->\n(.*?)<!-- engines: end -->", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def test_the_table_says_what_the_engines_declare() -> None:
    heading, *others = rows()
    engines = [engine_named(cell.split()[0]) for cell in heading[1:]]
    assert {engine.name for engine in engines} == set(ENGINES)
    missing = {
        ANOTHER_NAME.get(name, "--" + name.replace("_", "-")): name
        for name in ServerOptions._fields
    }
    for first, *cells in others:
        for flag in re.findall(r"`(--[a-z-]+)`", first):
            if flag == "--watch":
                told = [engine.side_by_side for engine in engines]
            else:
                told = [missing[flag] in engine.options for engine in engines]
                del missing[flag]
            assert [re.match("yes|no", cell)[0] == "yes" for cell in cells] == told, flag  # type: ignore[index]
    assert not missing, "options without a place in the table"
