"""Options that several commands have, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.cli.parsing.command import in_group
from launcher.cli.parsing.option_types import AGE, ENV_MANAGER, MODEL_URI, SIZE

if TYPE_CHECKING:
    from launcher.commands.environment import EnvironmentOptions

Function = TypeVar("Function", bound=Callable[..., Any])
Value = TypeVar("Value")
Decorator = Callable[[Function], Function]


def together(*options: Decorator[Any]) -> Decorator[Any]:
    """One decorator that adds these options, in this order."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
prune_options = together(
    click.option(
        "--older-than", type=AGE, metavar="30d", help="Remove what was not used for so long."
    ),
    click.option(
        "--max-size",
        type=SIZE,
        metavar="20GB",
        help="Remove the least recently used until all the others take less than this.",
    ),
    click.option("--dry-run", is_flag=True, help="Only say what would be removed."),
)
loader_option = in_group(
    "Model",
    click.option(
        "--loader",
        type=click.Choice(["auto", "mlflow"]),
        default="auto",
        show_default=True,
        help="auto reads the files of scikit-learn, LightGBM, XGBoost, CatBoost, statsmodels, ONNX "
        "and PyTorch models without importing MLflow; mlflow: always with its own loader.",
    ),
)
model_uri_option = click.option(
    "-m",
    "--model-uri",
    required=True,
    metavar="URI",
    type=MODEL_URI,
    help="The model: a folder, or a URI such as models:/NAME@ALIAS, runs:/ID/model, s3://...",
)
model_options = in_group(
    "Model",
    model_uri_option,
    click.option(
        "--max-model-size",
        metavar="SIZE",
        type=SIZE,
        help="Refuse a model that is larger, such as 20GB.  [default: no limit]",
    ),
    click.option(
        "--flavor",
        type=click.Choice(["python_function", "crate"]),
        help="What the model is used as, if it has both: crate is R's.  [default: python_function "
        "where the model has it]",
    ),
)
as_of_option = click.option(
    "--as-of",
    "--resolve-as-of",
    "as_of",
    default="auto",
    show_default=True,
    metavar="auto|today|DATE",
    help="The day whose package releases count; auto: the day the model was logged.",
)
offline_option = click.option(
    "--offline",
    is_flag=True,
    flag_value=True,
    default=None,
    envvar="LAUNCHER_OFFLINE",
    help="Never touch a network: only what is cached.",
)


env_manager_option = click.option(
    "--env-manager",
    type=ENV_MANAGER,
    default="virtualenv",
    show_default=True,
    help="What makes the model's environment; uv is another name for virtualenv, "
    "local is the Python that runs the launcher.",
)


mlserver_option = in_group(
    "Environment",
    click.option(
        "--enable-mlserver",
        is_flag=True,
        help="Serve with MLServer, installed into the model's environment, instead of the "
        "launcher's own server; Python 3.9 to 3.12.",
    ),
)


environment_options = in_group(
    "Environment",
    env_manager_option,
    click.option("--no-conda", is_flag=True, help="Deprecated: --env-manager local."),
    click.option(
        "--install-mlflow",
        is_flag=True,
        help="Install the MLflow that logged the model where the model does not ask for one, and "
        "the scoring server itself.",
    ),
    as_of_option,
    offline_option,
    click.option(
        "--python-downloads/--no-python-downloads",
        default=True,
        show_default=True,
        help="Install a Python that is missing, or fail then.",
    ),
    click.option(
        "--wheelhouse",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        metavar="DIR",
        help="Build from this folder instead of an index; see prepare-env --download.",
    ),
)


def take_environment_options(given: dict[str, Any]) -> EnvironmentOptions:
    """Take what ``environment_options`` added out of the options of a command."""
    from launcher.commands.environment import BuildOptions, EnvironmentOptions

    if given.pop("no_conda"):
        click.echo("--no-conda is deprecated; use --env-manager local.", err=True)
        given["env_manager"] = "local"
    build = take(BuildOptions, given)
    return take(EnvironmentOptions, given, build=build)


def take(kind: Callable[..., Value], given: dict[str, Any], **others: Any) -> Value:
    """Take the fields of a NamedTuple out of the options of a command, and make one of them.

    :param others: fields that are no options.
    """
    names = given.keys() & set(kind._fields)  # type: ignore[attr-defined]
    return kind(**{name: given.pop(name) for name in names}, **others)
