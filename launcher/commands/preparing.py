"""``launcher prepare-env``: the environment of a model, without a server in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.disk.home import close_home
from launcher.commands.environment import (
    EnvironmentOptions,
    describe_runtime,
    fill_wheelhouse,
    prepare_environment,
)
from launcher.commands.model_opening import ModelRequest, identity_of
from launcher.console import Console
from launcher.engines.engine import Assignment, Identity, ServerOptions
from launcher.engines.registry import engine_named
from launcher.engines.scoring_server import ScoringServer
from launcher.supervision.stop_signals import stop_requests_raise

if TYPE_CHECKING:
    from envs import Environment
    from launcher.model.mlmodel import Model


def prepare(
    request: ModelRequest,
    options: EnvironmentOptions,
    console: Console,
    config: Path | None = None,
    engine_name: str = ScoringServer.name,
) -> Environment:
    """Build or reuse the environment; write the server's configuration to ``config``, if given.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    engine = engine_named(engine_name)
    close_home(console.warn)
    with stop_requests_raise():
        source = request.resolve(console)
        model = request.read(source, engine, ServerOptions(), console)
        environment = prepare_environment(model, options, engine, console)
        # Also without a configuration: a crate without an R is not prepared.
        runtime = describe_runtime(model, environment, console)
        if config is not None:
            _write_config(config, request.shown, identity_of(source, model, None), model, runtime)
    return environment


def _write_config(
    path: Path, uri: str, identity: Identity, model: Model, runtime: Mapping[str, Any]
) -> None:
    """Write what a server in the environment is started with."""
    from launcher.engines.scoring_server import write_config

    write_config(path, Assignment(model, uri, runtime, ServerOptions(), identity))


def prepare_wheelhouse(
    request: ModelRequest,
    options: EnvironmentOptions,
    console: Console,
    folder: Path,
    engine_name: str = ScoringServer.name,
) -> None:
    """Fill ``folder`` with all that the model's environment is made of.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    engine = engine_named(engine_name)
    close_home(console.warn)
    with stop_requests_raise():
        model = request.open(engine, console)
        fill_wheelhouse(model, options, engine, folder, console)
