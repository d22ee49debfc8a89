"""``launcher serve``: URI -> Model -> Environment -> Command -> supervised process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.home import launcher_home
from launcher.artifacts import resolve_model
from launcher.backends import scoring_server_command
from launcher.console import Console
from launcher.environment import EnvironmentOptions, describe_plan, prepare_environment
from launcher.errors import LauncherError
from launcher.listening_socket import bind_socket, socket_url
from launcher.mlmodel import Model, read_model
from launcher.request_example import curl_line
from launcher.server_config import server_config, write_json
from launcher.server_log import ServerLog, new_log_path
from launcher.stop_signals import StopRequested, stop_requests_raise
from launcher.supervisor import Limits, Supervisor

if TYPE_CHECKING:
    from envs import Environment


@dataclass(frozen=True)
class ServeOptions:
    """What ``launcher serve`` was asked for. Times in seconds; ``max_body`` in bytes."""

    model_uri: str
    host: str = "127.0.0.1"
    port: int = 5000
    timeout: float = 60.0
    workers: int = 1
    environment: EnvironmentOptions = field(default_factory=EnvironmentOptions)
    ready_file: Path | None = None
    ready_timeout: float | None = None
    graceful_timeout: float = 30.0
    max_restarts: int = 5
    max_body: int = 100 * 1024 * 1024
    debug: bool = False


def serve(options: ServeOptions, console: Console) -> None:
    """Serve a model until told to stop.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    with stop_requests_raise():
        try:
            with bind_socket(options.host, options.port) as listening:
                url = socket_url(listening)
                model, environment = _prepare(options, console)
                with environment.in_use(), run_folder() as folder:
                    config = folder / "config.json"
                    server = _server_settings(options, listening.getsockname()[1])
                    write_json(
                        config,
                        server_config(
                            model,
                            uri=options.model_uri,
                            environment=describe_environment(environment),
                            server=server,
                        ),
                    )
                    command = scoring_server_command(environment.python, config)
                    presence = _Presence(options, model, environment, url, console)
                    log = ServerLog(
                        new_log_path(launcher_home() / "logs", "serve"), console.server_output
                    )
                    try:
                        console.under_way("loading the model")
                        Supervisor(
                            command,
                            listening,
                            url,
                            log,
                            limits=Limits(
                                ready=options.ready_timeout,
                                graceful=options.graceful_timeout,
                                restarts=options.max_restarts,
                            ),
                            report=console.step,
                            on_ready=presence.ready,
                            on_event=presence.event,
                        ).run()
                    finally:
                        presence.gone()
                        log.close()
        except StopRequested:
            pass
        console.step("stopped")


def show_plan(options: ServeOptions, console: Console) -> None:
    """Print what ``serve`` would do, build nothing and start nothing."""
    source = resolve_model(options.model_uri, report=console.step)
    model = read_model(source.path)
    for line in describe_plan(model, options.environment):
        print(line)
    print(f"server        {options.host}:{options.port}, {options.workers} worker(s)")


def _prepare(options: ServeOptions, console: Console) -> tuple[Model, Environment]:
    source = resolve_model(options.model_uri, report=console.step)
    model = read_model(source.path)
    console.step(describe_model(model))
    return model, prepare_environment(model, options.environment, console)


def describe_model(model: Model) -> str:
    """One line on what the model is: 'model iris: sklearn, MLflow 3.17.2, Python 3.11.7'."""
    flavors = [name for name in model.flavors if name != "python_function"]
    parts = [", ".join(flavors) or "python_function"]
    if model.mlflow_version:
        parts.append(f"MLflow {model.mlflow_version}")
    if model.requirements.python:
        parts.append(f"Python {model.requirements.python}")
    if model.created:
        parts.append(f"logged {model.created:%Y-%m-%d}")
    return f"model {model.name or model.path.name}: {', '.join(parts)}"


def describe_environment(environment: Environment) -> dict[str, Any]:
    """The environment as the scoring server's configuration and /info have it."""
    return {
        "manager": environment.manager,
        "key": environment.key,
        "python": environment.python_version,
    }


def _server_settings(options: ServeOptions, port: int) -> dict[str, Any]:
    return {
        "host": options.host,
        "port": port,
        "workers": options.workers,
        "timeout": options.timeout or None,
        "graceful_timeout": options.graceful_timeout,
        "max_body": options.max_body,
        "debug": options.debug,
    }


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for this process's own files, removed at the end.

    :raises LauncherError: it cannot be made.
    """
    path = launcher_home() / "run" / str(os.getpid())
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LauncherError(
            f"{path} cannot be made: {error.strerror}.", "Set LAUNCHER_HOME to another folder."
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Presence:
    """How a running server is known to others: the lines on the console, the ready file."""

    def __init__(
        self,
        options: ServeOptions,
        model: Model,
        environment: Environment,
        url: str,
        console: Console,
    ) -> None:
        self._options = options
        self._model = model
        self._environment = environment
        self._url = url
        self._console = console

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] == "loaded":
            self._console.step(f"model loaded in {event['seconds']:.2f} s")

    def ready(self) -> None:
        if self._options.ready_file is not None:
            write_json(
                self._options.ready_file,
                {
                    "pid": os.getpid(),
                    "url": self._url,
                    "environment": self._environment.key,
                    "environment_manager": self._environment.manager,
                },
            )
        self._console.clear()
        print(f"ready: {self._url}", flush=True)
        line = curl_line(self._model, self._url)
        if line is not None:
            print(f"try:   {line}", flush=True)
        if sys.stderr.isatty():
            self._console.step("press Ctrl-C to stop")

    def gone(self) -> None:
        if self._options.ready_file is not None:
            self._options.ready_file.unlink(missing_ok=True)
