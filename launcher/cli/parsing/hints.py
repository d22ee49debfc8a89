"""What somebody may have meant who wrote an option or a word that there is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches

import click

# Options of MLflow, and of the servers that people know, by the names that they have here.
_OTHER_NAMES = {
    "--models-workers": "--workers",
    "--num-workers": "--workers",
    "--pip-requirements": "--pip-requirements-override",
    "--input": "--input-path",
    "--output": "--output-path",
    "--model": "--model-uri",
    "--model-path": "--model-uri",
    "--bind": "--host",
    "--ssl-certfile": "--tls-cert",
    "--ssl-keyfile": "--tls-key",
    "--certfile": "--tls-cert",
    "--keyfile": "--tls-key",
    "--log-level": "--log-format",
    "--daemon": "--detach",
    "--background": "--detach",
    "--reload": "--watch",
}
_WITHOUT_ARGUMENT = {
    "ping": "The server's address goes there: launcher ping http://127.0.0.1:5000.",
    "call": "A URL or a name of `launcher ps` goes there: launcher call http://127.0.0.1:5000.",
}


def with_hint(error: click.UsageError, ctx: click.Context, arguments: Sequence[str]) -> str:
    """The error's words, with a sentence that helps where there is one.

    :param arguments: what stood on the command line after the command's name.
    """
    said = error.format_message()
    if isinstance(error, click.NoSuchOption):
        renamed = _OTHER_NAMES.get(error.option_name)
        if renamed in _flags(ctx):
            return f"{error.message} It is called {renamed} here."
        return said + ("" if error.possibilities else _option(error.option_name, ctx))
    if isinstance(error, click.MissingParameter):
        if error.param is not None and error.param.name == "model_uri":
            model = _model(_words(ctx, arguments), ctx)
            return f"{said} Here: {model}" if model else said
        known = _WITHOUT_ARGUMENT.get(str(ctx.info_name))
        return f"{said} {known}" if known and isinstance(error.param, click.Argument) else said
    if "unexpected extra argument" in said:
        is_there = ctx.params.get("model_uri")
        model = "" if is_there else _model(_words(ctx, arguments), ctx)
        return f"{said}. A model goes after -m: {model}" if model else f"{said}."
    if "'-h' requires an argument" in said:
        return f"{said} It is the host here, as in MLflow; --help shows the options."
    return said


def command_hint(name: str, ctx: click.Context) -> str:
    """The same for a command that there is not below ``ctx.command``."""
    assert isinstance(ctx.command, click.Group)
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    commands = root.command.list_commands(root)
    if ctx is not root and name in commands:
        return f" `{root.info_name} {name}` is what MLflow calls `{ctx.info_name} {name}`."
    if "/" in name or ":" in name or os.path.isdir(name):  # noqa: PTH112
        return f" To serve a model: {root.info_name} serve -m {name}"
    close = get_close_matches(name, ctx.command.list_commands(ctx), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _option(name: str, ctx: click.Context) -> str:
    root = ctx.find_root()
    if any(name in param.opts for param in root.command.params):
        return f" It goes before the command: {root.info_name} {name} ... {ctx.info_name} ..."
    close = get_close_matches(name, _flags(ctx), n=1)
    return f" Did you mean {close[0]}?" if close else _elsewhere(name, root)


def _flags(ctx: click.Context) -> list[str]:
    return [
        text
        for param in ctx.command.params
        if isinstance(param, click.Option) and not param.hidden
        for text in (*param.opts, *param.secondary_opts)
    ]


def _elsewhere(name: str, root: click.Context) -> str:
    """The other commands that have an option."""
    assert isinstance(root.command, click.Group)
    having = []
    for each in root.command.list_commands(root):
        command = root.command.get_command(root, each)
        if command is not None and any(name in param.opts for param in command.params):
            having.append(each)
    return f" {' and '.join(having)} {'have' if having[1:] else 'has'} it." if having else ""


def _words(ctx: click.Context, arguments: Sequence[str]) -> list[str]:
    """What is no option among the arguments."""
    try:
        return ctx.command.make_parser(ctx).parse_args(list(arguments))[1]
    except click.UsageError:
        return []


def _model(words: list[str], ctx: click.Context) -> str:
    """The command with the first word as its model, where it takes one; else empty."""
    takes_one = any(param.name == "model_uri" for param in ctx.command.params)
    return f"{ctx.command_path} -m {words[0]}" if takes_one and words else ""
