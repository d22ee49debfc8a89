"""Commands whose options are in groups, and are variables and keys of a configuration file, too.

What counts, first to last: the command line, ``LAUNCHER_COMMAND_OPTION``, the variables that
others have named (MLflow's, ``PORT``), the configuration file, the default. click asks an option's
own variable after those of others, and reads it by the rules of its release: here all that is not
on the command line goes through its map of defaults, which it takes in the place of a default.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

Function = TypeVar("Function", bound=Callable[..., Any])
# A configuration file that is looked for in the working folder.
FILES = ("launcher.toml", "launcher.yaml", "launcher.yml")
_META = "launcher.cli."


class Found(NamedTuple):
    """A value that is not on the command line, and where it is, in words."""

    value: Any
    where: str


class Setting(NamedTuple):
    """An option that is not left to its default.

    :param flag: ``--port``, ``--no-page``.
    :param value: as it was given; True for a flag.
    :param where: where it was given, in words.
    """

    flag: str
    value: Any
    where: str


def in_group(title: str, *options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """One decorator that adds these options, in this order, below a heading of ``--help``."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            before = len(getattr(function, "__click_params__", ()))
            function = option(function)
            for param in function.__click_params__[before:]:  # type: ignore[attr-defined]
                param.group = title
        return function

    return add


def group_of(option: click.Parameter) -> str:
    """The heading that an option stands below."""
    return str(getattr(option, "group", "Options"))


def flag_of(option: click.Parameter) -> str:
    """The option's name as it is written: ``--max-body``."""
    return next((each for each in option.opts if each.startswith("--")), option.opts[0])


def key_of(option: click.Parameter) -> str:
    """The option's name in a configuration file: ``max-body``."""
    return flag_of(option).lstrip("-")


class _Options(click.Command):
    """What single commands and groups of them have in common."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._others: dict[click.Option, tuple[str, ...]] = {}
        for option in self.settable():
            named = option.envvar or ()
            self._others[option] = (named,) if isinstance(named, str) else tuple(named)
            option.envvar, option.allow_from_autoenv = None, False

    def settable(self) -> list[click.Option]:
        """The options that may be given elsewhere than on the command line."""
        return [
            param
            for param in self.params
            if isinstance(param, click.Option) and not param.hidden and param.expose_value
        ]

    def variables_of(self, ctx: click.Context, option: click.Option) -> tuple[str, ...]:
        """The names of the variables that set an option, the first that counts first."""
        if option not in self._others:
            return ()
        own = f"{ctx.auto_envvar_prefix}_{key_of(option).replace('-', '_').upper()}"
        return (own, *self._others[option])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args == ["-h"] and "-h" not in self.get_help_option_names(ctx):
            args = ["--help"]  # serve's -h is the host, as MLflow's; alone it is none
        given = tuple(args)
        found: dict[str, Found] = {}
        # Who asks for help, or has a word completed, shall have it whatever a file says.
        if not ctx.resilient_parsing and not set(args) & set(self.get_help_option_names(ctx)):
            found = {**self._in_file(ctx, given), **self._in_variables(ctx)}
        ctx.meta[f"{_META}given"], ctx.meta[f"{_META}found"] = given, found
        ctx.default_map = {name: each.value for name, each in found.items()}
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(self._explained(error, ctx), ctx) from error

    def on_command_line(self, ctx: click.Context, args: Sequence[str]) -> dict[str, Any]:
        """The options of a command line by their names, as they were written."""
        try:
            return dict(self.make_parser(ctx).parse_args(list(args))[0])
        except click.UsageError:  # said by who parses in earnest
            return {}

    def _in_variables(self, ctx: click.Context) -> dict[str, Found]:
        found = {}
        for option in self.settable():
            for name in self.variables_of(ctx, option):
                text = os.environ.get(name)
                if text:  # one that is empty is none
                    value = _words(text) if option.multiple else text
                    found[str(option.name)] = Found(value, f"the variable {name}")
                    break
        return found

    def _in_file(self, ctx: click.Context, args: Sequence[str]) -> dict[str, Found]:  # noqa: ARG002
        return {}  # commands have one

    def _explained(self, error: click.UsageError, ctx: click.Context) -> str:
        """An error with what helps somebody who knows this command line a little."""
        name = str(getattr(getattr(error, "param", None), "name", None))
        if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
            return (
                f"{error.format_message()} It comes from {ctx.meta[f'{_META}found'][name].where}."
            )
        from launcher.cli.parsing.hints import with_hint

        return with_hint(error, ctx, ctx.meta[f"{_META}given"])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = None if isinstance(option, click.Argument) else option.get_help_record(ctx)
            if record is not None:
                assert isinstance(option, click.Option)
                names = ", ".join(self.variables_of(ctx, option))
                text = f"{record[1]}  [env: {names}]" if names else record[1]
                group = "Options" if option.name == "help" else group_of(option)
                groups.setdefault(group, []).append((record[0], text.lstrip()))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class Command(_Options):
    """A command; its options may be in the configuration file as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Not where words are another command's, nor where the name has long meant something else.
        is_free = all("--config" not in param.opts for param in self.params)
        self._takes_file = is_free and not self.context_settings.get("ignore_unknown_options")
        if self._takes_file:
            text = "A configuration file, as before the command."
            option = click.Option(["--config"], metavar="FILE", expose_value=False, help=text)
            self.params.append(option)

    def _in_file(self, ctx: click.Context, args: Sequence[str]) -> dict[str, Found]:
        named = ctx.find_root().params.get("config")
        if self._takes_file and any(each.startswith("--config") for each in args):
            own = self.on_command_line(ctx, args).get("config")
            named = Path(own) if own else named
        here = [] if named else [name for name in FILES if Path(name).is_file()]
        if not named and not here:
            return {}
        from launcher.cli.parsing import configuration  # here: most have no such file

        options = {key_of(option): option for option in self.settable()}
        if named:
            found = configuration.settings_in(named, ctx, options)
        else:
            found = configuration.settings_here(here, ctx, options)
        return {str(options[key].name): Found(*each) for key, each in found.items()}

    def settings(self, ctx: click.Context) -> Iterator[Setting]:
        """The options that are not left to their defaults, in the order of ``--help``."""
        written = self.on_command_line(ctx, ctx.meta[f"{_META}given"])
        for option in self.settable():
            name = str(option.name)
            source = ctx.get_parameter_source(name)
            found = ctx.meta[f"{_META}found"].get(name)
            if source is ParameterSource.COMMANDLINE:
                found = Found(written.get(name), "the command line")
            elif source is not ParameterSource.DEFAULT_MAP:
                continue
            flag = flag_of(option)
            if option.is_flag:
                is_off = not ctx.params[name] and option.secondary_opts
                yield Setting(option.secondary_opts[0] if is_off else flag, True, found.where)
            else:
                yield Setting(flag, found.value, found.where)


class Group(_Options, click.Group):
    """A group of commands."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            from launcher.cli.parsing.hints import command_hint

            ctx.fail(f"No such command {name!r}.{command_hint(name, ctx)}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark alone
        return text.split()
