"""A test that is skipped says how to have it run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# A program or package to install, a system or user to run as, a variable to set.
A_WAY = re.compile(r"(apt-get|pip|uv python|pyenv) install \S|\brun (as|on|with) |\bset [A-Z_]+")


def reasons(tree: ast.AST) -> list[str]:
    """The reasons of skips that are written out; "" for one that gives none."""
    found = []
    for node in ast.walk(tree):
        name = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in ("skip", "skipif", "importorskip"):
            named = [each.value for each in node.keywords if each.arg == "reason"]
            given = (named or (node.args if name == "skip" else []) or [ast.Constant("")])[0]
            if isinstance(given, (ast.Constant, ast.JoinedStr)):
                found.append(ast.unparse(given))
    return found


def test_a_reason_tells_what_makes_the_test_run() -> None:
    told = [
        (str(path.relative_to(FOLDER)), reason)
        for path in FOLDER.rglob("*.py")
        if re.search(r"(skip|skipif|importorskip)\(", code := path.read_text(encoding="utf-8"))
        for reason in reasons(ast.parse(code))
    ]
    assert len(told) > 40
    assert not [each for each in told if not A_WAY.search(each[1])]
