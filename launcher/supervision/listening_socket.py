"""The listening socket: bound by the launcher before any slow work, handed down to the server."""

from __future__ import annotations

import errno
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from launcher.errors import UsageError

# Ports that are tried for one to offer in the place of one that is taken.
_LOOKED_AT = 20
# Characters of another process's command line that are shown.
_SHOWN = 80


@contextmanager
def listening_socket(host: str, port: int, path: str | None = None) -> Iterator[socket.socket]:
    """The socket to hand down, bound within the block.

    :param host: and ``port``: as ``bind_socket`` takes them.
    :param path: that of a unix socket in their place; it is removed at the end.
    :raises UsageError: it cannot be bound.
    """
    if path is None:
        with bind_socket(host, port) as bound:
            yield bound
        return
    from scoring_server.web.unix_socket import UnixSocketError, bound_unix_socket

    with ExitStack() as held:
        try:
            bound = held.enter_context(bound_unix_socket(path))
        except UnixSocketError as error:
            raise UsageError(error.message, error.hint) from error
        yield bound


def bind_socket(host: str, port: int) -> socket.socket:
    """Bind ``host``:``port`` without listening, so that a probe is refused until someone does.

    :param port: 0 for a free one.
    :returns: the bound socket.
    :raises UsageError: the port is taken or not permitted, or the host is not one of this machine.
    """
    # For text Python imports its codec of international names first.
    name = host.encode() if host.isascii() else host
    try:
        family, _, _, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(
            f"The host {host!r} is not known: {error.strerror}.", "Use --host with an address."
        ) from error
    try:
        first = _bind(family, address, reuse=False)
        if port != 0:
            return first
        # Bound once more, by number: a port that the kernel chose it takes back when a server
        # shuts the socket down, and the next server would listen on another one.
        address = first.getsockname()
        first.close()
        return _bind(family, address, reuse=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _usage_error(host, port, error) from error
    if port == 0:  # somebody was quicker
        return bind_socket(host, port)
    # Connections of an earlier server may linger on this port; only then does "reuse" help. It
    # comes second because two sockets that both ask for it can bind the same port.
    try:
        return _bind(family, address, reuse=True)
    except OSError as error:
        raise _usage_error(host, port, error) from error


def _bind(family: int, address: tuple[object, ...], *, reuse: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _usage_error(host: str, port: int, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        free = _next_free(host, port)
        offer = "" if free is None else f"{free} is free: --port {free}. "
        return UsageError(
            f"Port {port} on {host} is taken by {_holder(port)}.",
            f"{offer}With --port 0 the launcher takes a free one.",
        )
    if error.errno == errno.EACCES:
        return UsageError(
            f"Port {port} may not be used without more rights.", "Choose one above 1023."
        )
    return UsageError(f"Cannot bind {host}:{port}: {error.strerror}.", "Choose another --host.")


def _next_free(host: str, port: int) -> int | None:
    """The next port that can be bound, of the next few."""
    for each in range(port + 1, min(port + 1 + _LOOKED_AT, 65536)):
        try:
            family, _, _, _, address = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0]
            _bind(family, address, reuse=False).close()
        except OSError:
            continue
        return each
    return None


def _holder(port: int) -> str:
    """Who listens on a port, in words: the process where this user may see it."""
    import psutil  # here: only who meets it pays for the import

    # A socket of another user has no process id; macOS lets nobody but root see all.
    with suppress(psutil.Error):
        for each in psutil.net_connections("tcp"):
            if each.laddr and each.laddr[1] == port and each.status == "LISTEN" and each.pid:
                command = shlex.join(psutil.Process(each.pid).cmdline())
                shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]} ..."
                return f"process {each.pid} ({shown})"
    return "another process"


def socket_url(bound: socket.socket) -> str:
    """The URL under which a client on this machine reaches the socket."""
    if bound.family == socket.AF_UNIX:
        return f"unix://{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if bound.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
