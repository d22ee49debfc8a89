"""From keywords to the command line of the same command: what one has, the other has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click

from launcher.cli.environments import prepare_env
from launcher.cli.parsing.command import flag_of, key_of
from launcher.cli.prediction import predict
from launcher.cli.serving import serve

_COMMANDS = {"serve": serve, "predict": predict, "prepare-env": prepare_env}
# Given as arguments of their own, or of no use where a value is returned.
_NO_KEYWORDS = {"model-uri", "input-path", "detach", "dry-run", "download", "json"}


def keywords_of(command: str) -> dict[str, click.Option]:
    """The options of a command that are keywords of its function, by their names as such."""
    return {
        key_of(option).replace("-", "_"): option
        for option in _COMMANDS[command].params
        if isinstance(option, click.Option)
        and not option.hidden
        and key_of(option) not in _NO_KEYWORDS
    }


def command_line(
    command: str, model_uri: str | os.PathLike[str], given: Mapping[str, Any]
) -> list[str]:
    """The words of a command line. A keyword that is None has not been given.

    :raises TypeError: there is no such option.
    """
    known = keywords_of(command)
    words = [command, f"--model-uri={os.fspath(model_uri)}"]
    for name, value in given.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            near = f" Did you mean {close[0]!r}?" if close else ""
            function = command.replace("-", "_")
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}.{near}")
        if value is not None:
            words += _words(known[name], value)
    return words


def _words(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        # Of flags that can only be set, the last names another word for it, or nothing.
        return (option.opts if value else option.secondary_opts)[-1:]
    if isinstance(value, Mapping):
        value = [f"{name}={each}" for name, each in value.items()]
    several = [value] if isinstance(value, (str, os.PathLike)) or not _is_many(value) else value
    texts = [str(each) for each in several]
    texts = texts if option.multiple else [",".join(texts)]
    return [f"{flag_of(option)}={text}" for text in texts]


def _is_many(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))
