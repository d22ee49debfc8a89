"""``launcher completion``, and what is completed beside options and files."""

from __future__ import annotations

import click

from launcher.cli.parsing.command import Command

# Where each shell looks for it, as a comment of its own language.
_PLACES = {
    "bash": """\
# For this shell alone:  eval "$(launcher completion bash)"
# For each new one:      launcher completion bash \\
#                          > ~/.local/share/bash-completion/completions/launcher
# (that folder is read by the package bash-completion), or the first line in ~/.bashrc.
""",
    "zsh": """\
# For this shell alone:  source <(launcher completion zsh)
# For each new one:      launcher completion zsh > ~/.zfunc/_launcher
# and in ~/.zshrc, before compinit:  fpath+=~/.zfunc
""",
    "fish": """\
# For this shell alone:  launcher completion fish | source
# For each new one:      launcher completion fish > ~/.config/fish/completions/launcher.fish
""",
}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(_PLACES)))
def completion(shell: str) -> None:
    """Print what SHELL completes a command line with: commands, options, files, names, keys.

    The end of it says where to put it.
    """
    from click.shell_completion import get_completion_class

    from launcher.cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(main, {}, "launcher", "_LAUNCHER_COMPLETE").source()
    click.echo(f"{script.rstrip()}\n\n{_PLACES[shell]}", nl=False)


def names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of what is being served that begin so."""
    from launcher.instances.registry import running_instances

    return [each.name for each in running_instances() if each.name.startswith(incomplete)]


def keys(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The keys of environments that begin so."""
    from envs import EnvStore

    return [key for key in EnvStore().listed_keys() if key.startswith(incomplete)]
