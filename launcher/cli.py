"""The command line: parse, call, print."""

import click


@click.group()
def main() -> None:
    """Serve MLflow Models in isolation."""
