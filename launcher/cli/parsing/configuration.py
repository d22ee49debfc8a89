"""The configuration file: options of commands, in a section for each.

TOML or YAML by its extension. A section has the command's name (``[serve]``, ``[envs.prune]``), its
keys those of the options, with ``-`` or ``_``. Relative paths are relative to the file.
"""

from __future__ import annotations

import datetime
import importlib
import os
import re
import sys
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.parsing.option_types import ASSIGNMENT, MODEL_URI, DataPath
from launcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    # The options of a command by their keys, and what a file says of them with where it says so.
    Options = Mapping[str, click.Option]
    Found = dict[str, tuple[Any, str]]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def settings_here(names: Sequence[str], ctx: click.Context, options: Options) -> Found:
    """What a file of the working folder says of a command; one that says something is named.

    :param names: the files that are there.
    :raises UsageError: there are several, or others may write it, or as ``settings_in``.
    """
    if len(names) > 1:
        raise UsageError(
            f"There are two configuration files here: {' and '.join(names[:2])}.",
            "Keep one of them, or name one: `launcher --config FILE COMMAND`.",
        )
    path = Path(names[0])
    _check_owner(path)
    found = settings_in(path, ctx, options)
    if found:
        click.echo(f"configuration: {path.absolute()}", err=True)
    return found


def settings_in(path: Path, ctx: click.Context, options: Options) -> Found:
    """What a file says of a command, by the keys of its options.

    :raises UsageError: it cannot be read, or has a section, a key or a value that there is not.
    """
    section, content = _section(path, _read(path), ctx)
    found = {}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in options:
            raise UsageError(
                f"{path}: {section} has {key}, which is no option of "
                f"`{ctx.command_path}`.{_near(name, options)}",
                f"`{ctx.command_path} --help` shows them.",
            )
        where = f"{key} in {section} of {path}"
        found[name] = _value(options[name], value, path, where), where
    return found


def _check_owner(path: Path) -> None:
    """See that nobody else decides what is done here; the folder may be one of all users."""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise UsageError(
            f"{path.absolute()} may be written by other users, and is not followed.",
            f"If it is meant: `launcher --config {path} COMMAND`; else go to another folder.",
        )


def _read(path: Path) -> Any:
    if path.suffix == ".toml":
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise UsageError(f"{path} is not TOML: {str(error).rstrip('.')}.") from error
    if path.suffix in (".yaml", ".yml"):
        from envs.disk.yaml_file import read_yaml
        from envs.errors import EnvError

        try:
            return read_yaml(path)
        except EnvError as error:
            raise UsageError(error.message, error.hint) from error
    raise UsageError(
        f"{path} is neither TOML nor YAML by its extension.", "Name it .toml, .yaml or .yml."
    )


def _section(path: Path, content: Any, ctx: click.Context) -> tuple[str, dict[str, Any]]:
    """The name and the content of the section of a command."""
    contexts = [ctx]
    while contexts[0].parent is not None:
        contexts.insert(0, contexts[0].parent)
    names: list[str] = []
    for above, below in pairwise(contexts):
        assert isinstance(above.command, click.Group)
        known = above.command.list_commands(above)
        content = _keys(path, names, content)
        for each, value in content.items():
            if each not in known:
                inside = f" in [{'.'.join(names)}]" if names else ""
                raise UsageError(
                    f"{path}: {each}{inside} is no section of a command.{_near(str(each), known)}",
                    "Options stand in a section with their command's name: [serve], then "
                    "port = 5000.",
                )
            _keys(path, [*names, each], value)
        names.append(str(below.info_name))
        content = content.get(names[-1])
    return f"[{'.'.join(names)}]", _keys(path, names, content)


def _keys(path: Path, names: list[str], content: Any) -> dict[str, Any]:
    """What a section of these names has; one that is empty has nothing."""
    if content is not None and not isinstance(content, dict):
        what = f"[{'.'.join(names)}]" if names else "the file"
        raise UsageError(f"{path}: {what} has no keys.", "Write [serve], then port = 5000.")
    return content or {}


def _value(option: click.Option, value: Any, path: Path, where: str) -> Any:
    """The value as the command line would have it.

    :raises UsageError: it is of another type.
    """
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where} is true or false, not {value!r}.")
        return value
    if option.multiple:
        if isinstance(value, dict) and option.type is ASSIGNMENT:
            return [f"{name}={_text(text, where)}" for name, text in value.items()]
        listed = value if isinstance(value, list) else [value]
        return [_text(each, where) for each in listed]
    text = _text(value, where)
    if isinstance(option.type, click.types.BoolParamType) or text == "-":
        return text
    is_path = isinstance(option.type, (click.Path, DataPath)) or (
        option.type is MODEL_URI and not _SCHEME.match(text)
    )
    return str(path.absolute().parent / Path(text).expanduser()) if is_path else text


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, datetime.date)):
        kind = "a list" if isinstance(value, list) else repr(value)
        raise UsageError(f"{where} is a text or a number, not {kind}.")
    return str(value)


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
