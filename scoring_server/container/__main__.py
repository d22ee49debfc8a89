"""The scoring server as a container runs it: ``python -m scoring_server.container [serve|ping]``.

``serve``, also without a word, is the container's process 1. It starts the server as its child,
passes signals on, reaps whatever else becomes its child, and ends with the server's exit code. It
is a process of its own because process 1 is not ended by a signal that it does not handle, as the
server is while it loads the model. ``ping`` is the container's health check.

The configuration is ``config.json`` beside this package's folder, or ``LAUNCHER_SERVER_CONFIG``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import List, Mapping, NoReturn, Sequence, Tuple

CONFIG_VARIABLE = "LAUNCHER_SERVER_CONFIG"
PACKAGE = Path(__file__).resolve().parents[1]
EXIT_USAGE = 2
# Those that make no sense to hand on: they are about this process itself, or end it anyhow.
_OWN_SIGNALS = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN,
                signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
                signal.SIGPIPE}  # fmt: skip


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what a container was started for; the exit code.

    :param arguments: the container's: nothing, ``serve`` or ``ping``.
    """
    config = environ.get(CONFIG_VARIABLE) or str(PACKAGE.parent / "config.json")
    command = list(arguments) or ["serve"]
    if command == ["serve"]:
        return supervise([sys.executable, str(PACKAGE), config])
    if command == ["ping"]:
        return ping(config, environ)
    print(
        "Error: {!r} is none of this image's commands.\n"
        "It has: serve, ping. Settings are environment variables.".format(" ".join(command)),
        file=sys.stderr,
    )
    return EXIT_USAGE


def supervise(command: List[str]) -> int:
    """Run a command as process 1 has to; its exit code, 128 and the number for a signal."""
    watched = set(signal.Signals) - _OWN_SIGNALS | {signal.SIGCHLD}
    # From here on none is lost: those that come wait for `sigwait`.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        _become(command, before)
    while True:
        signum = signal.sigwait(watched)
        if signum != signal.SIGCHLD:
            # Not yet reaped, so the number is still this child's.
            os.kill(child, signum)
            continue
        for pid, status in _ended():
            if pid == child:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
                return 128 + os.WTERMSIG(status) if code is None else code


def _become(command: List[str], mask: object) -> NoReturn:
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # type: ignore[arg-type]
        # Python ignores it, and an ignored signal stays so; the server's own Python decides anew.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(command[0], command)
    finally:
        os._exit(127)


def _ended() -> List[Tuple[int, int]]:
    """Reap all children that have ended: process ids and statuses."""
    ended: List[Tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, status))


def ping(config: str, environ: Mapping[str, str]) -> int:
    """Ask the server in this container whether it is ready: 0 if it is, else 1."""
    # Here, so that process 1 does without them.
    import http.client
    import socket
    import ssl

    from ..config import ServerConfig
    from .variables import with_variables

    settings = with_variables(ServerConfig.read(config), environ).server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=2)
    if settings.tls_cert is not None:
        # Its name is the service's, not this address's.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, settings.port, timeout=2, context=context)
    try:
        if settings.uds is not None:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(2)
            connection.sock.connect(settings.uds)
        connection.request("GET", "/ping")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print("not ready: {}".format(error), file=sys.stderr)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
