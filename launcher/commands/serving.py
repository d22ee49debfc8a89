"""``launcher serve``: URI -> Model -> Environment -> Command -> supervised process."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.disk.home import launcher_home
from launcher.artifacts import ModelSource
from launcher.commands.environment import (
    EnvironmentOptions,
    describe_plan,
    environment_spec,
    prepare_environment,
)
from launcher.commands.model_opening import ModelRequest
from launcher.commands.options import fill_wheelhouse
from launcher.console import Console
from launcher.engines.deployment import ModelDeployment
from launcher.errors import LauncherError, UsageError
from launcher.instances.detaching import Outcome, start_in_background
from launcher.instances.presence import Presence
from launcher.instances.registry import check_name, claimed_name, default_name
from launcher.instances.run_folders import run_folder
from launcher.instances.systemd import watchdog_seconds
from launcher.model.mlmodel import Model, read_model
from launcher.supervision.listening_socket import bind_socket, socket_url
from launcher.supervision.log import ServerLog, new_log_path
from launcher.supervision.stop_signals import StopRequested, stop_requests_raise
from launcher.supervision.supervisor import Limits, Supervisor

if TYPE_CHECKING:
    from envs import Environment
    from launcher.commands.model_watch import ModelWatch

_LOOPBACK = ("127.", "::1", "localhost")


@dataclass(frozen=True)
class ServeOptions:
    """What ``launcher serve`` was asked for. Times in seconds; ``max_body`` in bytes."""

    model_uri: str
    host: str = "127.0.0.1"
    port: int = 5000
    timeout: float = 60.0
    workers: int = 1
    threads: int = 1
    max_batch_rows: int = 0
    batch_wait: float = 0.0  # in milliseconds
    loader: str = "auto"
    preload: bool | None = None
    max_requests: int = 0
    max_requests_jitter: int = 0
    backlog: int = 512
    environment: EnvironmentOptions = field(default_factory=EnvironmentOptions)
    name: str | None = None
    ready_file: Path | None = None
    ready_timeout: float | None = None
    graceful_timeout: float = 30.0
    liveness_timeout: float = 30.0
    max_restarts: int = 5
    max_body: int = 100 * 1024 * 1024
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_format: str = "text"
    access_log: bool = False
    slow_request: float | None = None
    log_file: Path | None = None
    outcome_fd: int | None = None
    watch: float | None = None
    max_model_size: int | None = None
    debug: bool = False

    def model_request(self) -> ModelRequest:
        """Which model is wanted, as a value of its own."""
        return ModelRequest(self.model_uri, self.max_model_size, self.environment.build.is_offline)


def serve(options: ServeOptions, console: Console) -> None:
    """Serve a model until told to stop.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    outcome = Outcome(options.outcome_fd)
    with stop_requests_raise():
        try:
            check_access(options, console)
            with bind_socket(options.host, options.port) as listening, run_folder() as folder:
                _Serving(options, console, folder, listening, outcome).run()
        except StopRequested:
            pass
        except LauncherError as error:
            outcome.failed(error)
            raise
        console.step("stopped")


def serve_detached(options: ServeOptions, console: Console) -> None:
    """Serve in the background, and return once the server is ready.

    :raises LauncherError: as ``serve`` does.
    """
    if options.name is not None:
        check_name(options.name)
    model = options.model_request().open(console)
    check_access(options, console)
    arguments = [each for each in sys.argv[1:] if each != "--detach"]
    log = new_log_path(launcher_home() / "logs", options.name or default_name(model))
    start_in_background(arguments, log, console)


class _Serving:
    """One run of ``launcher serve``: makes deployments, and has them supervised."""

    def __init__(
        self,
        options: ServeOptions,
        console: Console,
        folder: Path,
        listening: Any,
        outcome: Outcome,
    ) -> None:
        self._options = options
        self._console = console
        self._folder = folder
        self._listening = listening
        self._outcome = outcome
        self._numbers = count(1)
        self._revision = ""
        scheme = "https" if options.tls_cert is not None else "http"
        self._url = socket_url(listening).replace("http", scheme, 1)

    def run(self) -> None:
        """Serve until told to stop."""
        if self._options.name is not None:
            with claimed_name(self._options.name):  # refused before anything is built
                self._serve(self._options.name, self._deploy())
        else:
            deployment = self._deploy()
            with claimed_name(None, default_name(deployment.model)) as name:
                self._serve(name, deployment)

    def _serve(self, name: str, deployment: ModelDeployment) -> None:
        options, console = self._options, self._console
        detached = options.log_file is not None
        log = ServerLog(
            options.log_file or new_log_path(launcher_home() / "logs", "serve"),
            # A launcher in the background writes its own lines to the same file.
            None if detached else console.server_output,
            console.warn,
        )
        presence = Presence(
            name=name,
            url=self._url,
            model_uri=options.model_uri,
            folder=self._folder,
            ready_file=options.ready_file,
            log=log,
            console=console,
            curl_options=_curl_options(options),
            on_ready=lambda: self._outcome.ready(self._url, name),
        )
        console.under_way("loading the model")
        supervisor = Supervisor(
            deployment,
            self._listening,
            self._url,
            log,
            limits=_limits(options),
            report=presence.report,
            observer=presence,
            redeploy=self._deploy,
        )
        watch = self._watch(supervisor) if options.watch else None
        try:
            presence.attach(supervisor, deployment)
            if watch is not None:
                watch.start()
            supervisor.run()
        finally:
            if watch is not None:
                watch.stop()
            presence.detach()
            log.close()

    def _watch(self, supervisor: Supervisor) -> ModelWatch:
        """Have the server reloaded when what is behind the model URI has moved."""
        from launcher.commands.model_watch import ModelWatch

        assert self._options.watch is not None
        request = self._options.model_request()

        def moved() -> None:
            self._console.step(f"{request.uri} has moved")
            supervisor.post(supervisor.reload)

        return ModelWatch(
            self._options.watch,
            lambda: request.resolve(self._console).revision,
            self._revision,
            on_moved=moved,
            on_problem=self._console.warn,
        )

    def _deploy(self) -> ModelDeployment:
        """Read the model and prepare its environment, as they are now."""
        source = self._options.model_request().resolve(self._console)
        self._revision = source.revision
        model, environment = _prepare(source, self._options, self._console)
        return ModelDeployment(
            source,
            model,
            environment,
            uri=self._options.model_uri,
            settings=server_settings(self._options, self._listening.getsockname()[1]),
            config=self._folder / f"config-{next(self._numbers)}.json",
            warn=self._console.warn,
        )


def check_access(options: ServeOptions, console: Console) -> None:
    """See that what guards the server can be read; warn where nothing does.

    :raises UsageError: a file cannot be read, or a certificate lacks its key.
    """
    if options.token_file is None and not options.host.startswith(_LOOPBACK):
        console.warn(
            f"anyone who reaches {options.host} can use the model: set --token-file, "
            "or serve on 127.0.0.1"
        )
    if options.token_file is not None:
        try:
            token = options.token_file.read_bytes().strip()
        except OSError as error:
            raise UsageError(
                f"The token file {options.token_file} cannot be read: {error.strerror}."
            ) from error
        if not token:
            raise UsageError(
                f"The token file {options.token_file} is empty.", "Put the token on its first line."
            )
    if options.tls_key is not None and options.tls_cert is None:
        raise UsageError("--tls-key needs --tls-cert.", "Give the certificate too.")
    if options.tls_cert is not None:
        import ssl

        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.tls_cert, options.tls_key)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"The certificate {options.tls_cert} cannot be used: {error}.",
                "Give PEM files: --tls-cert with the chain, --tls-key with its private key.",
            ) from error


def _limits(options: ServeOptions) -> Limits:
    watchdog = watchdog_seconds()
    return Limits(
        ready=options.ready_timeout,
        graceful=options.graceful_timeout,
        liveness=options.liveness_timeout or None,
        probe_every=None if watchdog is None else watchdog / 3,
        restarts=options.max_restarts,
    )


def _curl_options(options: ServeOptions) -> str:
    parts = []
    if options.tls_cert is not None:
        parts.append(f"--cacert {options.tls_cert} ")
    if options.token_file is not None:
        parts.append(f'-H "Authorization: Bearer $(cat {options.token_file})" ')
    return "".join(parts)


def prepare(options: ServeOptions, console: Console, config: Path | None) -> Environment:
    """Build or reuse the environment; write the server's configuration to ``config``, if given.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    with stop_requests_raise():
        source = options.model_request().resolve(console)
        model, environment = _prepare(source, options, console)
        if config is not None:
            deployment = ModelDeployment(
                source,
                model,
                environment,
                uri=options.model_uri,
                settings=server_settings(options, options.port),
                config=config,
                warn=console.warn,
            )
            deployment.write_config()
            deployment.close()
    return environment


def prepare_wheelhouse(options: ServeOptions, console: Console, folder: Path) -> None:
    """Fill ``folder`` with all that the model's environment is made of.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    with stop_requests_raise():
        model = options.model_request().open(console)
        spec = environment_spec(model, options.environment)
        fill_wheelhouse(spec, folder, options.environment.build, console)


def show_plan(options: ServeOptions, console: Console) -> None:
    """Print what ``serve`` would do, build nothing and start nothing."""
    model = options.model_request().open(console)
    for line in describe_plan(model, options.environment):
        print(line)
    print(f"server        {options.host}:{options.port}, {options.workers} worker(s)")


def _prepare(
    source: ModelSource, options: ServeOptions, console: Console
) -> tuple[Model, Environment]:
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


def server_settings(options: ServeOptions, port: int) -> dict[str, Any]:
    """The ``server`` part of the scoring server's configuration."""
    return {
        "host": options.host,
        "port": port,
        "workers": options.workers,
        "threads": options.threads,
        "max_batch_rows": options.max_batch_rows,
        "batch_wait": options.batch_wait / 1000,
        "loader": options.loader,
        "preload": options.preload,
        "max_requests": options.max_requests,
        "max_requests_jitter": options.max_requests_jitter,
        "backlog": options.backlog,
        "timeout": options.timeout or None,
        "graceful_timeout": options.graceful_timeout,
        "max_body": options.max_body,
        "token_file": _absolute(options.token_file),
        "tls_cert": _absolute(options.tls_cert),
        "tls_key": _absolute(options.tls_key),
        "access_log": options.access_log,
        "log_format": options.log_format,
        "slow_request": options.slow_request,
        "debug": options.debug,
    }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
