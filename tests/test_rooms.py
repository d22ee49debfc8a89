"""The rooms of the design: which package may import which."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What the scoring server may import at the top of a module, and what only inside a function,
# because an environment may do without it.
SERVER_TOP = {"flask", "numpy", "pandas", "scoring_server"}
# Where a model of that flavor is, its library is.
FLAVORS = {"lightgbm", "xgboost", "catboost", "onnxruntime"}
SERVER_LAZY = {"pyarrow", "orjson", "scipy", "werkzeug"}
# Libraries of flavors, imported where a model is of that flavor.
SERVER_LAZY |= {"lightgbm", "xgboost", "catboost", "onnxruntime", "torch"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The top-level packages that a file imports, and whether at the top of the module."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body)) | {
        id(child)
        for node in tree.body
        if isinstance(node, (ast.If, ast.Try))
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module.split(".")[0], id(node) in top))
    return found


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", files("envs"), ids=str)
def test_envs_imports_neither_launcher_nor_server(path: Path) -> None:
    assert not {"launcher", "scoring_server", "flask", "http"} & {name for name, _ in imports(path)}


@pytest.mark.parametrize("path", files("launcher"), ids=str)
def test_launcher_does_not_import_the_scoring_server(path: Path) -> None:
    """But for the events of the status pipe, which both sides read."""
    text = path.read_text().replace("from scoring_server import events", "")
    text = text.replace("from scoring_server.events import", "")
    assert "import scoring_server" not in text
    assert "from scoring_server" not in text


@pytest.mark.parametrize("path", files("scoring_server"), ids=str)
def test_the_scoring_server_imports_what_every_environment_has(path: Path) -> None:
    lazy = SERVER_LAZY | FLAVORS if path.name == "flavors.py" else SERVER_LAZY
    for name, at_top in imports(path):
        allowed = SERVER_TOP if at_top else SERVER_TOP | lazy
        assert name in allowed or name in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("room", ["launcher", "envs", "scoring_server"])
def test_modules_stay_readable(room: str) -> None:
    long = {path.name for path in files(room) if len(path.read_text().splitlines()) > 420}
    assert not long


def test_the_top_level_is_what_the_design_says() -> None:
    tracked = {"launcher", "scoring_server", "envs", "tests", "fixtures", "benchmarks"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    assert tracked <= folders
