"""Types of command line options: ages and sizes as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from launcher.quantities import parse_age, parse_size


class _Quantity(click.ParamType[float]):
    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return self._parse(str(value))
        except ValueError as error:
            return self.fail(str(error), param, ctx)


AGE = _Quantity("age", parse_age)
SIZE = _Quantity("size", parse_size)


class _File(click.Path):
    """A file, as an absolute path; a link in it may lead elsewhere tomorrow, so it stays."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Any = super().convert(value, param, ctx)
        return Path(path).absolute()


FILE = _File(path_type=Path, dir_okay=False)
