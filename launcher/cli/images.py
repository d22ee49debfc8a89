"""``launcher generate-dockerfile`` and ``launcher build-docker``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.option_types import ASSIGNMENT, ENV_MANAGER, SIZE
from launcher.cli.parsing.options import as_of_option, offline_option, take, together
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.images.context import BuildContext


def _joined(
    _ctx: click.Context, _param: click.Parameter, pairs: tuple[tuple[str, str], ...]
) -> tuple[str, ...]:
    return tuple("=".join(pair) for pair in pairs)


_image_options = together(
    in_group(
        "Model",
        click.option(
            "-m", "--model-uri", metavar="URI",
            help="The model. Without one: an image that takes its model from /opt/ml/model, "
            "/mnt/models or MODEL_URI when it starts, and makes the environment then.",
        ),
        click.option(
            "--max-model-size", metavar="SIZE", type=SIZE,
            help="Refuse a model that is larger, such as 20GB.  [default: no limit]",
        ),
    ),
    in_group(
        "Environment",
        click.option(
            "--env-manager", type=ENV_MANAGER, default="virtualenv", show_default=True,
            help="What makes the model's environment; uv is another name for virtualenv, local is "
            "the Python of the base image with the packages that it has.",
        ),
        click.option(
            "--install-mlflow", is_flag=True,
            help="Install the MLflow that logged the model where the model does not ask for one.",
        ),
        click.option(
            "--mlflow-home", type=click.Path(path_type=Path, file_okay=False, exists=True),
            help="Install MLflow from this checkout of it, with the packages that the MLflow of "
            "the model needs.",
        ),
        click.option("--enable-mlserver", is_flag=True, help="Without -m: serve with MLServer."),
        as_of_option,
        offline_option,
    ),
    in_group(
        "Image",
        click.option(
            "--base-image", metavar="IMAGE",
            help="What the image is made from: any with Python and pip.  [default: python:X.Y-slim "
            "of the model's Python]",
        ),
        click.option(
            "--install-java", type=bool, metavar="true|false",
            help="Install a Java runtime.  [default: where the model's flavor needs one]",
        ),
        click.option(
            "--platform", metavar="linux/amd64|linux/arm64",
            help="The platform of the image; its lock is for that.  [default: this machine's]",
        ),
        click.option(
            "--sbom/--no-sbom", default=True, show_default=True,
            help="Put a bill of materials (CycloneDX) into the image.",
        ),
        click.option(
            "--extra", "extras", multiple=True,
            type=click.Choice(["conda", "s3", "gcs", "azure", "sftp", "otel"]),
            help="Without -m: put what these models need into the image, too, or what exports "
            "traces (otel); repeatable.",
        ),
    ),
)  # fmt: skip


@click.command(cls=Command)
@_image_options
@in_group(
    "Output",
    click.option(
        "-d", "--output-directory", type=click.Path(path_type=Path, file_okay=False),
        default="mlflow-dockerfile", show_default=True,
        help="The folder for the Dockerfile and all that it copies.",
    ),
)  # fmt: skip
def generate_dockerfile(output_directory: Path, **given: Any) -> None:
    """Write what an image that serves a model is built from: a Dockerfile, a lock, the model."""
    context = _context(given)
    context.write(output_directory)
    click.echo(f"{output_directory}: build it with `docker build -t NAME {output_directory}`")
    if context.netrc:
        click.echo(
            "An index asks for credentials: add `--secret id=netrc,src=FILE`, a file as ~/.netrc."
        )


@click.command(cls=Command)
@_image_options
@in_group(
    "Output",
    click.option(
        "-n", "--name", default="mlflow-pyfunc-servable", show_default=True,
        help="The image's name, with or without a tag.",
    ),
    click.option(
        "--tag", "tags", multiple=True, metavar="NAME", help="A further name; repeatable."
    ),
    click.option(
        "--builder", type=click.Choice(["docker", "podman", "buildah"]),
        help="What builds it.  [default: the first of these that is here]",
    ),
    click.option("--push", is_flag=True, help="Push it to its registry."),
    click.option(
        "--label", "labels", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUE",
        callback=_joined, help="A further label; repeatable.",
    ),
    click.option(
        "--build-arg", "build_args", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUE",
        callback=_joined,
        help="An argument of the Dockerfile, such as BUILD_IMAGE or PIP_INDEX_URL; repeatable.",
    ),
)  # fmt: skip
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BUILDER-OPTION...]")
def build_docker(
    name: str,
    tags: tuple[str, ...],
    builder: str | None,
    push: bool,
    labels: tuple[str, ...],
    build_args: tuple[str, ...],
    options: tuple[str, ...],
    **given: Any,
) -> None:
    """Build an image that serves a model. Words after -- go to the builder as they are."""
    from launcher.images.builders import BuildRequest, build, find_builder
    from launcher.supervision.stop_signals import stop_requests_raise

    program = find_builder(builder)  # before anything is fetched
    platform = given["platform"]
    context = _context(given)
    request = BuildRequest((name, *tags), platform, labels, build_args, push, options)
    with stop_requests_raise():  # so that the context and the credentials go with it
        build(context, program, request)
    click.echo(f"image: {name}")


def _context(given: dict[str, Any]) -> BuildContext:
    """What is to be built, as the options say."""
    from launcher.commands.environment import BuildOptions, EnvironmentOptions
    from launcher.commands.model_opening import ModelRequest
    from launcher.console import Console
    from launcher.images.launcher_image import launcher_context
    from launcher.images.model_image import ImageOptions, model_context
    from launcher.supervision.stop_signals import stop_requests_raise

    mlserver = given.pop("enable_mlserver")
    if mlserver and given["model_uri"] is not None:
        raise UsageError(
            "An image of a model is served by the launcher's own server.",
            "Leave out --enable-mlserver, or -m: the image then gets the model when it starts.",
        )
    build = BuildOptions(given.pop("offline"))
    environment = take(EnvironmentOptions, given, build=build)
    options = take(ImageOptions, given, environment=environment)
    console = Console()
    with stop_requests_raise():
        if given["model_uri"] is None:
            context = launcher_context(options, given["extras"], console, mlserver=mlserver)
        else:
            request = ModelRequest(given["model_uri"], given["max_model_size"], build.is_offline)
            context = model_context(request, options, console)
    for note in context.notes:
        console.warn(note)
    return context
