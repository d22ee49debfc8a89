"""The server: a front for the connections, workers for the model, a process for the pages.

The model is loaded before the first fork, so that workers share its memory, and the socket
listens only after that, so that a probe before readiness is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from typing import Iterator, Optional, Sequence

from .access_token import AccessToken
from .config import ConfigError, ServerConfig, ServerSettings
from .front.front import DRAIN_LINGER_SECONDS, STOP_LINGER_SECONDS, Front
from .model.loading import LoadedModel, load_model
from .protocols.registry import route_groups
from .route_table import RouteTable
from .routes import RouteGroup
from .scoring.application import Application
from .scoring.direct_lane import LaneState
from .service import Batching, Handler, Service
from .status import StatusChannel
from .worker.lifeline import Lifeline, end_process_group
from .wsgi import pages_handler


def make_service(
    config: ServerConfig,
    model: Optional[LoadedModel] = None,
    load_seconds: float = 0.0,
    groups: Optional[Sequence[RouteGroup]] = None,
) -> Service:
    """What is served for a configuration.

    :param model: None to load it in each worker.
    :param load_seconds: how long loading it took.
    :param groups: the routes; None for those of the registry.
    """
    root_path = config.server.root_path
    table = RouteTable(route_groups(config) if groups is None else groups, root_path)
    # Before the workers are forked: they share both.
    batching, lane = Batching.of(config.server), LaneState()
    application = None if model is None else Application(config, model, batching, lane=lane)

    def load() -> Handler:
        return application or Application(config, load_model(config), batching, lane=lane)

    return Service(
        config,
        table,
        load,
        lambda: pages_handler(config, table),
        None if model is None else load_seconds,
        lambda: lane.name,
        batching,
    )


def serve(
    service: Service, socket_fd: Optional[int], status: StatusChannel, lifeline: Lifeline
) -> int:
    """Serve until told to stop, and return the exit code.

    SIGTERM finishes the requests in flight first; SIGUSR1 as well, and leaves clients with an
    open connection time to come over to the server that replaces this one.

    :param socket_fd: a bound socket; None to bind the configuration's `host` and `port`, or `uds`.
    :raises ConfigError: the token or the certificate cannot be read, or the socket not be made.
    """
    config = service.config
    token, tls = AccessToken.read(config.server.token_file), _tls(config)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        with _listener(config.server, socket_fd) as listener:
            front = Front(service, listener, status, token, tls)
            loop.add_signal_handler(signal.SIGTERM, front.stop, STOP_LINGER_SECONDS)
            loop.add_signal_handler(signal.SIGINT, front.stop, STOP_LINGER_SECONDS)
            loop.add_signal_handler(signal.SIGUSR1, front.stop, DRAIN_LINGER_SECONDS)
            if lifeline.descriptor is not None:
                loop.add_reader(lifeline.descriptor, end_process_group)
            return await front.run()

    # Objects that the collector never looks at are not written to, and so stay shared.
    gc.collect()
    gc.freeze()
    # Not asyncio.run: it would wait for what is left, and there is nothing left to wait for.
    return asyncio.new_event_loop().run_until_complete(main())


@contextlib.contextmanager
def _listener(settings: ServerSettings, socket_fd: Optional[int]) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as held:
        if socket_fd is not None:
            listener = held.enter_context(socket.socket(fileno=socket_fd))
        elif settings.uds is not None:
            from .web.unix_socket import UnixSocketError, bound_unix_socket

            try:
                listener = held.enter_context(bound_unix_socket(settings.uds))
            except UnixSocketError as error:
                raise ConfigError("{} {}".format(error.message, error.hint)) from error
        else:
            family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
            listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
        yield listener


def _tls(config: ServerConfig) -> Optional[ssl.SSLContext]:
    settings = config.server
    if settings.tls_cert is None:
        return None
    if settings.uds is not None:
        raise ConfigError("A unix socket does not leave this machine: it has no certificate.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("Cannot use the certificate: {}.".format(error)) from error
    return context
