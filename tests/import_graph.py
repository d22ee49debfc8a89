"""Which module of a source tree imports which, read from the source without running any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Import:
    """One import statement's target.

    :param name: the dotted name as it would be absolute; of ``from a import b`` it is ``a.b``.
    :param lazy: whether it stands in a function, so that importing the module does not need it.
    :param line: the line number of the statement.
    """

    name: str
    lazy: bool
    line: int


Graph = Mapping[str, frozenset[str]]


def source_files(root: Path, package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names; a package's own is its ``__init__.py``."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, module: str) -> list[Import]:
    """All imports of a file, wherever they stand: in functions, branches and ``TYPE_CHECKING``.

    :param module: the dotted name of the file's module, which relative imports start from.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node, lazy in _walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, lazy, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(node, package)
            found += [Import(f"{origin}.{alias.name}", lazy, node.lineno) for alias in node.names]
    return sorted(found)


def _walk(node: ast.AST, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes below one, each with whether a function's body holds it."""
    for child in ast.iter_child_nodes(node):
        within = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield child, within
        yield from _walk(child, within)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    start = parts[: len(parts) - node.level + 1]
    return ".".join([*start, *([node.module] if node.module else [])])


def import_graph(files: Mapping[str, Path]) -> Graph:
    """Which of these modules import which, by their dotted names.

    ``from a import b`` leads to the module ``a.b`` where there is one, else to ``a``. That an
    import runs the ``__init__.py`` of the packages above its target is not counted: else every
    module would import the face of its own package.
    """
    return {
        module: frozenset(
            target
            for each in imports(path, module)
            if (target := _module_of(each.name, files)) and target != module
        )
        for module, path in files.items()
    }


def _module_of(name: str, files: Mapping[str, Path]) -> str | None:
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name or None


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules that import each other in a loop, each sorted."""
    reachable = {module: _reachable(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reachable[module] if module in reachable[other]))
        for module in graph
        if module in reachable[module]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: Graph, start: str) -> set[str]:
    """What a module imports, directly or through others; itself only where it is in a loop."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found
