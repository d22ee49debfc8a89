"""The WSGI server under the scoring application: gunicorn, threads in forked workers.

The model is loaded before the first fork, so that workers share its memory, and the socket
listens only after that, so that a probe before readiness is refused.
"""

import gc
import time
from typing import Any, Callable, Dict, Optional

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from .config import ServerConfig
from .process_guard import Lifeline, die_with_parent
from .status import StatusChannel

# Request threads wait for the predictor or for slow clients; they do not predict themselves.
REQUEST_THREADS = 32
KEEP_ALIVE_SECONDS = 75
STOP_LINGER_SECONDS = 0.5


class ScoringWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with a stop that does not wait for idle connections.

    Between gunicorn 24 and 26 a stopping worker waits until its kept-alive connections expire. A
    client that may be sending its next request still gets the linger time for it.
    """

    _linger_until = None  # type: Optional[float]

    def murder_keepalived(self, *arguments: Any, **keywords: Any) -> Any:
        if not self.alive:
            now = time.monotonic()
            if self._linger_until is None:
                self._linger_until = now + STOP_LINGER_SECONDS
            for connection in getattr(self, "keepalived_conns", ()):
                connection.timeout = min(connection.timeout, self._linger_until)
        return super().murder_keepalived(*arguments, **keywords)

    def wait_for_and_dispatch_events(self, timeout: Optional[float]) -> Any:
        if not self.alive and self._linger_until is not None:
            left = max(self._linger_until - time.monotonic(), 0.1)
            timeout = left if timeout is None else min(timeout, left)
        return super().wait_for_and_dispatch_events(timeout)


class _Application(BaseApplication):
    def __init__(self, settings: Dict[str, Any], wsgi: Callable) -> None:
        self._settings = settings
        self._wsgi = wsgi
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            # Settings differ between the gunicorn releases for CPython 3.7 and for 3.14.
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Callable:
        return self._wsgi


def serve(
    config: ServerConfig,
    wsgi: Callable,
    socket_fd: Optional[int],
    status: StatusChannel,
    lifeline: Lifeline,
) -> None:
    """Serve until told to stop (SIGTERM: requests in flight are finished first).

    :param wsgi: the application, its model loaded; each worker is a fork of this process.
    :param socket_fd: a bound socket; None to bind ``config.server.host`` and ``port`` here.
    """
    server = config.server

    def worker_ready(worker: Any) -> None:
        die_with_parent()
        lifeline.start()
        status.send("ready", pid=worker.pid)

    bind = "fd://%d" % socket_fd if socket_fd is not None else "%s:%d" % (server.host, server.port)
    settings = {
        "bind": bind,
        "workers": server.workers,
        # By name: gunicorn 20 cannot describe a class in its log.
        "worker_class": "scoring_server.wsgi_server.ScoringWorker",
        "threads": REQUEST_THREADS,
        "keepalive": KEEP_ALIVE_SECONDS,
        # A slow prediction is not a dead worker; the application has its own limit for requests.
        "timeout": 0,
        "graceful_timeout": int(server.graceful_timeout),
        "preload_app": True,
        "loglevel": "debug" if server.debug else "warning",
        "control_socket_disable": True,
        "post_worker_init": worker_ready,
    }
    application = _Application(settings, wsgi)
    # Objects that the collector never looks at are not written to, and so stay shared.
    gc.collect()
    gc.freeze()
    application.run()
