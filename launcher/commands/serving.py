"""``launcher serve``: URI -> Model -> Environment -> Command -> supervised process."""

from __future__ import annotations

import shlex
import sys
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs.disk.home import close_home
from launcher.artifacts import release_model
from launcher.commands.environment import (
    EnvironmentOptions,
    describe_plan,
    describe_runtime,
    prepare_environment,
)
from launcher.commands.model_opening import (
    ModelRequest,
    check_code_execution,
    identity_of,
)
from launcher.console import Console, as_json_line, clear
from launcher.engines.deployment import ModelDeployment
from launcher.engines.engine import Assignment, Engine, ServerOptions, refuse_options
from launcher.engines.registry import engine_named
from launcher.engines.scoring_server import ScoringServer
from launcher.errors import UsageError
from launcher.instances.detaching import Outcome, start_in_background
from launcher.instances.presence import Presence
from launcher.instances.registry import check_name, claimed_name, default_name
from launcher.instances.run_folders import run_folder
from launcher.instances.systemd import watchdog_seconds
from launcher.supervision.deployment import Limits
from launcher.supervision.listening_socket import listening_socket, socket_url
from launcher.supervision.log import ServerLog, log_folder, new_log_path
from launcher.supervision.served_model import ServedModel
from launcher.supervision.stop_signals import StopRequested, stop_requests_raise
from launcher.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from launcher.commands.model_watch import ModelWatch
    from launcher.tracing.channel import TraceChannel
    from launcher.tracing.target import TraceTarget


class ServeOptions(NamedTuple):
    """What ``launcher serve`` was asked for. Times in seconds.

    :param liveness_timeout: 0 for no end of patience.
    """

    model_uri: str
    server: ServerOptions = ServerOptions()
    environment: EnvironmentOptions = EnvironmentOptions()
    engine: str = ScoringServer.name
    name: str | None = None
    ready_file: Path | None = None
    ready_timeout: float | None = None
    liveness_timeout: float = 30.0
    max_restarts: int = 5
    log_file: Path | None = None
    log_max_size: int | None = None
    log_keep: int = 3
    watch: float | None = None
    max_model_size: int | None = None
    flavor: str | None = None
    traces: TraceTarget | None = None

    def model_request(self) -> ModelRequest:
        """Which model is wanted, as a value of its own."""
        is_offline = self.environment.build.is_offline
        return ModelRequest(self.model_uri, self.max_model_size, is_offline, self.flavor)


def serve(options: ServeOptions, console: Console, outcome: Outcome | None = None) -> None:
    """Serve a model until told to stop.

    :param outcome: is told of the first readiness.
    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    server = options.server
    with stop_requests_raise():
        try:
            engine = check_engine(options)
            check_access(server, console, engine)
            options = options._replace(traces=_checked_traces(options, engine, console))
            close_home(console.warn)
            uds = None if server.uds is None else str(server.uds)
            with (
                listening_socket(server.host, server.port, uds) as listening,
                run_folder() as folder,
            ):
                _Serving(options, console, folder, listening, outcome).run()
        except StopRequested:
            pass
        console.step("stopped")


def serve_detached(options: ServeOptions, console: Console) -> None:
    """Serve in the background, and return once the server is ready.

    :raises LauncherError: as ``serve`` does.
    """
    if options.name is not None:
        check_name(options.name)
    engine = check_engine(options)
    check_access(options.server, console, engine)
    _checked_traces(options, engine, console)
    arguments = [each for each in sys.argv[1:] if each != "--detach"]
    log = new_log_path(log_folder(), options.name or "serve")
    start_in_background(arguments, log, console)


class _Serving:
    """One run of ``launcher serve``: makes deployments, and has them supervised."""

    def __init__(
        self,
        options: ServeOptions,
        console: Console,
        folder: Path,
        listening: Any,
        outcome: Outcome | None,
    ) -> None:
        self._options = options
        self._engine = engine_named(options.engine)
        self._server = options.server
        if self._server.uds is None:
            # As it is: the port that was asked for may have been 0.
            self._server = self._server._replace(port=listening.getsockname()[1])
        self._console = console
        self._folder = folder
        self._listening = listening
        self._outcome = outcome
        self._numbers = count(1)
        self._revision = ""
        self._traces: TraceChannel | None = None
        scheme = "https" if options.server.tls_cert is not None else "http"
        self._url = socket_url(listening).replace("http", scheme, 1)

    def run(self) -> None:
        """Serve until told to stop."""
        if self._options.traces is not None:
            from launcher.tracing.channel import TraceChannel

            self._traces = TraceChannel(
                self._options.traces,
                is_https=self._url.startswith("https"),
                warn=self._console.warn,
            )
        try:
            self._run()
        finally:
            if self._traces is not None:
                self._traces.close()

    def _run(self) -> None:
        if self._options.name is not None:
            with claimed_name(self._options.name):  # refused before anything is built
                self._serve(self._options.name, self._deploy())
        else:
            deployment = self._deploy()
            with claimed_name(
                None, default_name(deployment.identity.name_of(deployment.model))
            ) as name:
                self._serve(name, deployment)

    def _serve(self, name: str, deployment: ModelDeployment) -> None:
        options, console = self._options, self._console
        detached = options.log_file is not None
        log = ServerLog(
            options.log_file or new_log_path(log_folder(), "serve"),
            # A launcher in the background writes its own lines to the same file.
            None if detached else console.server_output,
            console.warn,
            max_size=options.log_max_size,
            kept=options.log_keep,
            as_line=as_json_line if options.server.log_format == "json" else None,
        )
        presence = Presence(
            name=name,
            url=self._url,
            model_uri=options.model_request().shown,
            folder=self._folder,
            ready_file=options.ready_file,
            log=log,
            console=console,
            curl_options=_curl_options(options.server),
            on_ready=lambda: self._is_ready(name),
            socket_path=options.server.uds,
            token_file=options.server.token_file,
            tls_cert=options.server.tls_cert,
        )
        supervisor = Supervisor(log, presence.report)
        model = ServedModel(
            deployment,
            self._listening,
            self._url,
            log,
            supervisor,
            limits=_limits(options),
            report=presence.report,
            observer=presence,
            redeploy=self._deploy,
        )
        if self._traces is not None:
            self._traces.start(name)
        watch = self._watch(supervisor, model) if options.watch else None
        try:
            presence.attach(supervisor, model, deployment)
            if watch is not None:
                watch.start()
            supervisor.run(model)
        finally:
            if watch is not None:
                watch.stop()
            presence.detach()
            clear()
            log.close()

    def _is_ready(self, name: str) -> None:
        if self._outcome is not None:
            self._outcome.ready(self._url, name)

    def _watch(self, supervisor: Supervisor, model: ServedModel) -> ModelWatch:
        """Have the server reloaded when what is behind the model URI has moved."""
        from launcher.commands.model_watch import ModelWatch

        assert self._options.watch is not None
        request = self._options.model_request()

        def moved() -> None:
            self._console.step(f"{request.shown} has moved")
            supervisor.post(model.reload)

        return ModelWatch(
            self._options.watch,
            lambda: request.revision(self._console),
            self._revision,
            on_moved=moved,
            on_problem=self._console.warn,
        )

    def _deploy(self) -> ModelDeployment:
        """Read the model and prepare its environment, as they are now."""
        options, console = self._options, self._console
        request = options.model_request()
        source = request.resolve(console)
        self._revision = source.revision
        try:
            model = request.read(source, self._engine, self._server, console)
            environment = prepare_environment(model, options.environment, self._engine, console)
            runtime = describe_runtime(model, environment, console)
        except BaseException:
            release_model(source)
            raise
        return ModelDeployment(
            source,
            Assignment(
                model,
                request.shown,
                runtime,
                self._server,
                identity_of(source, model, options.name),
                None if self._traces is None else self._traces.settings,
            ),
            environment,
            self._engine,
            folder=self._folder / f"deployment-{next(self._numbers)}",
            warn=console.warn,
        )


def check_engine(options: ServeOptions) -> Engine:
    """The engine, which has all that was asked for and may load models.

    :raises UsageError: there is none of that name, or it lacks something.
    :raises ModelError: models may not be loaded.
    """
    check_code_execution()
    engine = engine_named(options.engine)
    refuse_options(engine, options.server)
    if options.watch and not engine.side_by_side:
        raise UsageError(
            f"The engine {engine.name} has no --watch: it cannot reload beside a running server.",
            "Leave it out.",
        )
    return engine


def _checked_traces(options: ServeOptions, engine: Engine, console: Console) -> TraceTarget | None:
    """Where traces go, or None; who asked for them in vain is told.

    :raises UsageError: they were asked for here, and cannot be had.
    """
    if options.traces is None:
        return None
    from launcher.tracing.target import checked

    return checked(options.traces, None if engine.has_traces else engine.name, console.warn)


def check_access(options: ServerOptions, console: Console, engine: Engine) -> None:
    """See that what guards the server can be read; warn where nothing does.

    :raises UsageError: a file cannot be read, or a certificate lacks its key.
    """
    is_local = options.uds is not None or _is_loopback(options.host)
    if options.token_file is None and not is_local:
        guard = "set --token-file, or " if "token_file" in engine.options else ""
        console.warn(
            f"anyone who reaches {options.host} can use the model: {guard}serve on 127.0.0.1"
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limits(options: ServeOptions) -> Limits:
    watchdog = watchdog_seconds()
    return Limits(
        ready=options.ready_timeout,
        graceful=options.server.graceful_timeout,
        liveness=options.liveness_timeout or None,
        probe_every=None if watchdog is None else watchdog / 3,
        restarts=options.max_restarts,
    )


def _curl_options(options: ServerOptions) -> str:
    parts = []
    if options.uds is not None:
        parts.append(f"--unix-socket {shlex.quote(str(options.uds))} ")
    if options.tls_cert is not None:
        parts.append(f"--cacert {options.tls_cert} ")
    if options.token_file is not None:
        parts.append(f'-H "Authorization: Bearer $(cat {options.token_file})" ')
    return "".join(parts)


def plan(options: ServeOptions, console: Console) -> dict[str, Any]:
    """What ``serve`` would do, as JSON has it; build nothing and start nothing.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    engine = check_engine(options)
    _checked_traces(options, engine, console)
    model = options.model_request().open(engine, console, options.server)
    return describe_plan(model, options.environment, engine, options.server, console)
