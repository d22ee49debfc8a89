"""Types of command line options: ages and sizes as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.quantities import parse_age
from scoring_server.container.sizes import parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Quantity(click.ParamType[float]):
    def __init__(self, name: str, parse: Callable[[str], float], least: float = 0) -> None:
        self.name = name
        self._parse = parse
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            found = self._parse(str(value))
        except ValueError as error:
            return self.fail(str(error), param, ctx)
        if found < self._least:
            self.fail(f"{value} is less than {self._least:g}.", param, ctx)
        return found


class _EnvManager(click.ParamType[str]):
    """A name of an environment manager, or another name for it; which there are is asked late."""

    name = "manager"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from envs.managers.registry import canonical_name

        return canonical_name(self._choice().convert(value, param, ctx))

    def get_metavar(self, *args: Any, **kwargs: Any) -> str | None:
        return self._choice().get_metavar(*args, **kwargs)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return self._choice().shell_complete(ctx, param, incomplete)

    @staticmethod
    def _choice() -> click.Choice[str]:
        from envs.managers.registry import choices

        return click.Choice(choices())


class _Platform(click.Choice[str]):
    """A platform by conda's name (those of `envs.pip.platforms`)."""

    def __init__(self) -> None:
        super().__init__(["linux-64", "linux-aarch64", "osx-64", "osx-arm64"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).lower().startswith("win"):
            self.fail("Models are served on Linux and macOS, not on Windows.", param, ctx)
        return super().convert(value, param, ctx)


class _ModelUri(click.ParamType[str]):
    name = "uri"

    def get_missing_message(self, *args: Any, **kwargs: Any) -> str:  # noqa: ARG002
        return "The model goes there: -m PATH, or -m models:/NAME@ALIAS."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return click.Path(file_okay=False).shell_complete(ctx, param, incomplete)


class DataPath(click.ParamType[str]):
    """A file to read or to write; - is the standard stream."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return click.Path().shell_complete(ctx, param, incomplete)


class _Assignment(click.ParamType[tuple[str, str]]):
    """NAME=VALUE, as a pair; a name has no blanks."""

    name = "assignment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name or any(map(str.isspace, name)):
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, text


ASSIGNMENT = _Assignment()
DATA_PATH = DataPath()
# Of files that are scored or sent.
FORMATS = ["csv", "json", "jsonl", "parquet"]
ENV_MANAGER = _EnvManager()
MODEL_URI = _ModelUri()
PLATFORM = _Platform()
PORT = click.IntRange(0, 65535)
AGE = _Quantity("age", parse_age)
SIZE = _Quantity("size", parse_size)
BODY_SIZE = _Quantity("size", parse_size, least=1)


class _File(click.Path):
    """A file, as an absolute path; a link in it may lead elsewhere tomorrow, so it stays."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Any = super().convert(value, param, ctx)
        return Path(path).absolute()


FILE = _File(path_type=Path, dir_okay=False)
SOCKET = _File(path_type=Path, dir_okay=False, readable=False)


class _Checked(click.ParamType[str]):
    """A text that a function has in its one form; the function is imported late."""

    def __init__(self, name: str, function: str) -> None:
        self.name = name
        self._function = function

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            return ""
        from scoring_server.web import address  # here: most servers are given none

        try:
            checked: str = getattr(address, self._function)(str(value))
        except ValueError as error:
            return self.fail(str(error), param, ctx)
        return checked


ORIGIN = _Checked("origin", "origin_of")
ROOT_PATH = _Checked("prefix", "root_path_of")
