"""The finder of imports and circles, on small trees that are made up."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.import_graph import Graph, circles, import_graph, imports, source_files

Tree = Callable[[dict[str, str]], Graph]


@pytest.fixture
def graph_of(tmp_path: Path) -> Tree:
    """Write a package `house` of the modules that are given, and read its graph."""

    def make(modules: dict[str, str]) -> Graph:
        for name, text in {"__init__": "", **modules}.items():
            path = tmp_path / "house" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return import_graph(source_files(tmp_path, "house"))

    return make


def test_modules_without_a_circle_have_none(graph_of: Tree) -> None:
    graph = graph_of({"a": "import house.b", "b": "from house import c", "c": "import os"})
    assert graph["house.a"] == {"house.b"}
    assert graph["house.b"] == {"house.c"}
    assert circles(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "import house.a",
        "import house.a as first",
        "from house import a",
        "from house.a import name",
        "from . import a",
        "from .a import name",
        "def late():\n    from .a import name",
        "async def late():\n    import house.a",
        "class Holder:\n    from house import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import name",
        "try:\n    import house.a\nexcept ImportError:\n    pass",
    ],
)
def test_a_circle_is_found_however_the_import_is_written(graph_of: Tree, back: str) -> None:
    graph = graph_of({"a": "from house.b import other", "b": back, "c": "from house import b"})
    assert circles(graph) == [["house.a", "house.b"]]


def test_relative_imports_start_from_their_package(graph_of: Tree) -> None:
    graph = graph_of(
        {
            "upper/__init__": "from .room import name",
            "upper/room": "from ..lower.room import name\nfrom ..lower import other",
            "lower/__init__": "",
            "lower/room": "from .. import first",
            "lower/other": "",
            "first": "",
        }
    )
    assert graph["house.upper"] == {"house.upper.room"}
    assert graph["house.upper.room"] == {"house.lower.room", "house.lower.other"}
    assert graph["house.lower.room"] == {"house.first"}


def test_circles_through_a_packages_face_count_but_not_the_packages_above_a_target(
    graph_of: Tree,
) -> None:
    assert circles(graph_of({"__init__": "from .a import b", "a": "import house.c", "c": ""})) == []
    graph = graph_of({"__init__": "from .a import b", "a": "from . import c, b", "c": ""})
    assert circles(graph) == [["house", "house.a"]]


def test_circles_that_share_no_module_are_reported_apart(graph_of: Tree) -> None:
    graph = graph_of(
        {
            "a": "from . import b, d",
            "b": "from . import c",
            "c": "from . import a",
            "d": "from . import e",
            "e": "from . import d",
        }
    )
    assert circles(graph) == [["house.a", "house.b", "house.c"], ["house.d", "house.e"]]


def test_imports_in_functions_are_lazy_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import one\n"
        "if one:\n    import two\n"
        "class Holder:\n"
        "    import three\n"
        "    def method(self):\n        from four.inner import name\n"
    )
    found = {(each.name, each.lazy, each.line) for each in imports(path, "module")}
    assert found == {
        ("one", False, 1),
        ("two", False, 3),
        ("three", False, 5),
        ("four.inner.name", True, 7),
    }
