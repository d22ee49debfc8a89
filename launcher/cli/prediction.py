"""``launcher predict``."""

from __future__ import annotations

from typing import Any

import click

from launcher.cli.options import (
    environment_options,
    loader_option,
    model_options,
    take_environment_options,
)


@click.command()
@model_options
@click.option("-i", "--input-path", help="What to score; standard input without it.")
@click.option("-o", "--output-path", help="Where the predictions go; standard output without it.")
@click.option(
    "-t", "--content-type", type=click.Choice(["csv", "json", "parquet"]),
    help="Format of the input.  [default: by its extension, else json]",
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
    loader: str,
    **given: Any,
) -> None:
    """Score a file in the model's environment, in chunks."""
    from launcher.commands.model_opening import ModelRequest
    from launcher.commands.prediction import predict as run
    from launcher.console import Console

    environment = take_environment_options(given)
    run(
        ModelRequest(model_uri, max_model_size, environment.build.is_offline, flavor),
        input_path=input_path,
        output_path=output_path,
        content_type=content_type,
        loader=loader,
        environment=environment,
        console=Console(),
    )
