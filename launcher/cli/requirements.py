"""``launcher update-pip-requirements``."""

from __future__ import annotations

from typing import Literal

import click

from launcher.cli.output import print_json
from launcher.cli.parsing.command import Command
from launcher.cli.parsing.options import json_option, model_uri_option


@click.command(cls=Command)
@model_uri_option
@click.argument("operation", type=click.Choice(["add", "remove"]))
@click.argument("requirements", nargs=-1, required=True)
@json_option
def update_pip_requirements(
    model_uri: str,
    operation: Literal["add", "remove"],
    requirements: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add requirements to a model's conda.yaml and requirements.txt, or remove them by name.

    What is added takes the place of what is there of the same name. The model has to be a folder
    of this machine; python_env.yaml and lockfiles stay as they are.

    Example: launcher update-pip-requirements -m PATH add 'pandas==2.2.3' 'scipy>=1.13'
    """
    from launcher.commands.requirements import update_requirements
    from launcher.console import Console

    changes = update_requirements(model_uri, operation, requirements, Console(quiet=as_json))
    if as_json:
        print_json({"files": [change._asdict() for change in changes]})
        return
    for change in changes:
        lines = [f"- {line}" for line in change.removed] + [f"+ {line}" for line in change.added]
        click.echo("\n  ".join([f"{change.file}:", *(lines or ["as it was"])]))
