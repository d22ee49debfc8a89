"""The server under the WSGI application: a front for the connections, workers for the model.

The model is loaded before the first fork, so that workers share its memory, and the socket
listens only after that, so that a probe before readiness is refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import signal
import socket
import ssl
from pathlib import Path
from typing import Any, Optional

from .config import ConfigError, ServerConfig
from .front.front import DRAIN_LINGER_SECONDS, STOP_LINGER_SECONDS, Front
from .model.loading import LoadedModel, load_model
from .scoring.application import create_wsgi
from .status import StatusChannel
from .worker.lifeline import Lifeline, end_process_group
from .worker.process import Wsgi

# How often the launcher hears how many requests have been answered, if that has changed.
_SUMMARY_SECONDS = 1.0


def make_application(config: ServerConfig, model: LoadedModel) -> Wsgi:
    """The application as a worker runs it: in the calling thread, its time watched by the front."""
    settings = dataclasses.replace(config.server, threads=0, timeout=None)
    return create_wsgi(dataclasses.replace(config, server=settings), model)


def serve(
    config: ServerConfig,
    wsgi: Optional[Wsgi],
    load_seconds: float,
    socket_fd: Optional[int],
    status: StatusChannel,
    lifeline: Lifeline,
) -> int:
    """Serve until told to stop, and return the exit code.

    SIGTERM finishes the requests in flight first; SIGUSR1 as well, and leaves clients with an
    open connection time to come over to the server that replaces this one.

    :param wsgi: the application, its model loaded; None to load it in each worker.
    :param load_seconds: how long loading it took, for the metrics.
    :param socket_fd: a bound socket; None to bind `config.server.host` and `port` here.
    :raises ConfigError: the token or the certificate cannot be read.
    """
    token, tls = _token(config), _tls(config)
    preload = wsgi is not None
    settings = dataclasses.replace(config.server, preload=preload)
    config = dataclasses.replace(config, server=settings)

    def load() -> Wsgi:
        return wsgi if wsgi is not None else make_application(config, load_model(config))

    async def main() -> int:
        loop = asyncio.get_running_loop()

        def ready() -> None:
            if not preload:
                status.send("loaded", seconds=front.pool.load_seconds)
            status.send("ready")

        def failed(failure: Any) -> None:
            message, hint, trace = failure
            status.send("failed", message=message, hint=hint, traceback=trace)

        def crashed(reason: str, early: bool) -> None:
            status.send("worker_crashed", reason=reason, early=early)

        front = Front(
            config, load, _listener(config, socket_fd),
            token=token, tls=tls, on_ready=ready, on_failed=failed, on_crash=crashed,
            on_draining=lambda: status.send("draining"),
        )  # fmt: skip
        front.pool.load_seconds = load_seconds
        loop.add_signal_handler(signal.SIGTERM, front.stop, STOP_LINGER_SECONDS)
        loop.add_signal_handler(signal.SIGINT, front.stop, STOP_LINGER_SECONDS)
        loop.add_signal_handler(signal.SIGUSR1, front.stop, DRAIN_LINGER_SECONDS)
        if lifeline.descriptor is not None:
            loop.add_reader(lifeline.descriptor, end_process_group)
        _send_summaries(loop, front, status)
        return await front.run()

    # Objects that the collector never looks at are not written to, and so stay shared.
    gc.collect()
    gc.freeze()
    # Not asyncio.run: it would wait for what is left, and there is nothing left to wait for.
    return asyncio.new_event_loop().run_until_complete(main())


def _listener(config: ServerConfig, socket_fd: Optional[int]) -> socket.socket:
    if socket_fd is not None:
        return socket.socket(fileno=socket_fd)
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _token(config: ServerConfig) -> Optional[bytes]:
    path = config.server.token_file
    if path is None:
        return None
    try:
        token = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError("cannot read the token file: {}".format(error)) from error
    if not token:
        raise ConfigError("the token file {} is empty".format(path))
    return token


def _tls(config: ServerConfig) -> Optional[ssl.SSLContext]:
    settings = config.server
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("cannot use the certificate: {}".format(error)) from error
    return context


def _send_summaries(loop: asyncio.AbstractEventLoop, front: Front, status: StatusChannel) -> None:
    sent = front.summary()

    def send() -> None:
        nonlocal sent
        now = front.summary()
        if now != sent:
            status.send_if_read("summary", **now)
            sent = now
        loop.call_later(_SUMMARY_SECONDS, send)

    loop.call_later(_SUMMARY_SECONDS, send)
