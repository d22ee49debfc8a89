"""The house's rules: which room may import which, in which order, without circles.

The order is data: a package's lines from top to bottom. A module may import from its own line and
from the lines below it. What is new needs a place here. Only import statements are seen; a module
that is named in a string and loaded by ``importlib`` is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.import_graph import Import, circles, import_graph, imports, source_files

ROOT = Path(__file__).resolve().parents[1]

# A name is a module or a folder right below the package; `__init__` is the package's own face.
ORDER = {
    "launcher": [
        "__init__ api",
        "__main__ cli",
        "images manifests inspection",
        "commands",
        "instances",
        "engines",
        "supervision",
        "tracing",
        "model",
        "artifacts",
        "console errors quantities",
    ],
    "envs": [
        "__init__ preparing locking inventory exclusion",
        "managers",
        "pip",
        "store",
        "plan building",
        "disk spec errors extras",
    ],
    "scoring_server": [
        "__init__ __main__ command_line serving wsgi",
        "front",
        "worker",
        "files",
        "protocols pages",
        "scoring",
        "formats",
        "model",
        "signature",
        "container",
        "service tracing web route_table routes access_token",
        "config status events errors memory version",
    ],
}
PACKAGES = sorted(ORDER)
# What a package may import of the project's other folders: these names and what is in them.
MAY_IMPORT: dict[str, list[str]] = {
    "launcher": [
        "envs",
        *("scoring_server.events", "scoring_server.container.sizes"),
        *("scoring_server.container.cpu_limits", "scoring_server.model.code_permission"),
        *("scoring_server.web.unix_socket", "scoring_server.web.address"),
        "scoring_server.tracing.records",
    ],
    "envs": [],
    "scoring_server": [],
}
FOLDERS = {"launcher", "envs", "scoring_server", "tests", "benchmarks", "fixtures"}

# Every environment that is served from has these; the others are asked for where they are needed.
SERVER_TOP = {"flask", "numpy", "pandas", "scoring_server"}
SERVER_LAZY = SERVER_TOP | {"pyarrow", "orjson", "scipy", "werkzeug"}
# A flavor's library is there where a model is of that flavor: only what loads models asks for it.
FLAVORS = {"lightgbm", "xgboost", "catboost", "onnxruntime", "torch"}
# The scoring server runs on CPython 3.7, whose standard library is without these.
STANDARD_LIBRARY = sys.stdlib_module_names - {"graphlib", "tomllib", "zoneinfo", "annotationlib"}

LONGEST_MODULE = 400
LARGEST_FOLDER = 15
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}


def statements(package: str) -> Iterator[tuple[str, Import]]:
    """All imports of a package, each with the module that it stands in."""
    for module, path in source_files(ROOT, package).items():
        for each in imports(path, module):
            yield module, each


def room(module: str) -> str:
    """The name right below the package that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    found = circles(import_graph(source_files(ROOT, package)))
    assert not found, "circles:\n" + "\n".join(", ".join(circle) for circle in found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_place_in_the_order(package: str) -> None:
    placed = {name for line in ORDER[package] for name in line.split()}
    assert {room(module) for module in source_files(ROOT, package)} <= placed


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_points_up(package: str) -> None:
    line = {name: n for n, names in enumerate(ORDER[package]) for name in names.split()}
    graph = import_graph(source_files(ROOT, package))
    up = [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if line[room(target)] < line[room(module)]
    ]
    assert not up, "\n".join(up)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_packages_below_it(package: str) -> None:
    allowed = [package, *MAY_IMPORT[package]]
    wrong = [
        f"{module} line {each.line}: {each.name}"
        for module, each in statements(package)
        if each.name.split(".")[0] in FOLDERS
        and not any(within(each.name, name) for name in allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_environments_know_nothing_of_http_servers() -> None:
    wrong = [
        f"{module} line {each.line}: {each.name}"
        for module, each in statements("envs")
        if each.name.split(".")[0] in {"flask", "http"}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_scoring_server_imports_what_every_environment_has() -> None:
    wrong = []
    for module, each in statements("scoring_server"):
        allowed = SERVER_LAZY if each.lazy else SERVER_TOP
        if each.lazy and within(module, "scoring_server.model"):
            allowed = allowed | FLAVORS
        if each.name.split(".")[0] not in allowed | STANDARD_LIBRARY:
            wrong.append(f"{module} line {each.line}: {each.name}")
    assert not wrong, "\n".join(wrong)


def test_the_front_knows_no_tables() -> None:
    wrong = [
        f"{module} line {each.line}: {each.name}"
        for module, each in statements("scoring_server")
        if within(module, "scoring_server.front") and each.name.split(".")[0] in {"numpy", "pandas"}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks"])
def test_modules_and_folders_stay_readable(folder: str) -> None:
    files = source_files(ROOT, folder).values()
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    ]
    full = [
        f"{parent.relative_to(ROOT)}: {count} modules"
        for parent in sorted({path.parent for path in files})
        if (count := len(list(parent.glob("*.py")))) > LARGEST_FOLDER
    ]
    assert not long + full, "\n".join(long + full)


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_names_say_what_is_inside(folder: str) -> None:
    names = {part for module in source_files(ROOT, folder) for part in module.split(".")}
    assert not NAMES_THAT_SAY_NOTHING & names


def test_the_top_level_is_what_the_design_says() -> None:
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    assert found >= FOLDERS
