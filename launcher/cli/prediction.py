"""``launcher predict``."""

from __future__ import annotations

from typing import Any

import click

from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.option_types import ASSIGNMENT, DATA_PATH, FORMATS
from launcher.cli.parsing.options import (
    environment_options,
    loader_option,
    model_options,
    take_environment_options,
)


@click.command(cls=Command)
@model_options
@in_group(
    "Input and output",
    click.option(
        "-i", "--input-path", metavar="PATH", type=DATA_PATH,
        help="What to score; standard input without it, or as -. May be compressed: .gz, .bz2, "
        ".xz.",
    ),
    click.option(
        "-o", "--output-path", metavar="PATH", type=DATA_PATH,
        help="Where the predictions go; standard output without it, or as -. Compressed as its "
        "extension says.",
    ),
    click.option(
        "-t", "--content-type", type=click.Choice(FORMATS),
        help="Format of the input; jsonl: a record a line.  [default: by its extension, else "
        "json]",
    ),
    click.option(
        "--output-format", type=click.Choice(FORMATS),
        help="Format of the output; jsonl: a prediction a line.  "
        "[default: by its extension, else json]",
    ),
)  # fmt: skip
@in_group(
    "Environment",
    click.option(
        "-r", "--pip-requirements-override", "override", metavar="LIST",
        help="Requirements that take the place of the model's own, by commas: "
        "pandas==2.2.3,scipy>=1.13",
    ),
    click.option(
        "--env", "variables", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUE",
        help="A variable for the model's process; as often as needed.",
    ),
)  # fmt: skip
@loader_option
@environment_options
def predict(
    model_uri: str,
    max_model_size: int | None,
    flavor: str | None,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    output_format: str | None,
    override: str | None,
    variables: tuple[tuple[str, str], ...],
    loader: str,
    **given: Any,
) -> None:
    """Score a file in the model's environment, in chunks."""
    from launcher.commands.environment import split_override
    from launcher.commands.model_opening import ModelRequest
    from launcher.commands.prediction import predict as run
    from launcher.console import Console

    environment = take_environment_options(given)
    if override is not None:
        environment = environment._replace(override=split_override(override))
    run(
        ModelRequest(model_uri, max_model_size, environment.build.is_offline, flavor),
        input_path=input_path,
        output_path=output_path,
        content_type=content_type,
        output_format=output_format,
        variables=dict(variables),
        loader=loader,
        environment=environment,
        console=Console(),
    )
