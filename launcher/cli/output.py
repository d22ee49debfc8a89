"""Results on standard output: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of them the heads.

    On a terminal they fit its width; elsewhere each row is a line, its cells as wide as the widest.
    """
    if sys.stdout.isatty():
        # Here: only who sees it pays for the import.
        from rich.console import Console
        from rich.table import Table

        table = Table(*rows[0], box=None, pad_edge=False, header_style="bold")
        for row in rows[1:]:
            table.add_row(*row)
        Console(markup=False, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def print_json(value: Any) -> None:
    """Print JSON values."""
    click.echo(json.dumps(value, indent=2))
