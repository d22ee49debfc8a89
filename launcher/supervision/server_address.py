"""Where a server answers: a host and port, or a unix socket; http or https."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from launcher.errors import UsageError

if TYPE_CHECKING:
    import ssl


class ServerAddress(NamedTuple):
    """An address, and a path there.

    ``scheme``: ``http`` or ``https``. ``socket``: the path of a unix socket, in the place of host
    and port, or "". ``path``: without a slash at its end; "" for none. ``query``: without its mark.
    """

    scheme: str
    host: str
    port: int | None = None
    socket: str = ""
    path: str = ""
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read an address.

        :param text: ``http://HOST:PORT/PATH``, the same with https or without a scheme,
            ``unix:///SOCKET`` (with a path: ``unix:///SOCKET:/PATH``), or
            ``http+unix://SOCKET/PATH`` with each slash of the socket's path as ``%2F``.
        :raises UsageError: it is none of these.
        """
        if text.startswith("unix:"):
            path, _, inner = text.removeprefix("unix:").removeprefix("//").partition(":/")
            if not path.startswith("/"):
                raise UsageError(f"{text!r} names no socket.", "For example: unix:///run/iris.sock")
            return cls("http", "localhost", socket=path, path=f"/{inner}".rstrip("/"))
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{text!r} is not an HTTP URL: {error}.") from error
        path = parts.path.rstrip("/")
        if parts.scheme == "http+unix" and parts.netloc:
            return cls("http", "localhost", None, unquote(parts.netloc), path, parts.query)
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"{text!r} is not an HTTP URL.", "For example: http://127.0.0.1:5000")
        return cls(parts.scheme, host, port, "", path, parts.query)

    def __str__(self) -> str:
        if self.socket:
            return f"unix://{self.socket}" + (f":{self.path}" if self.path else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def below(self, path: str) -> ServerAddress:
        """A path of the server's."""
        return self._replace(path=self.path + path)

    @property
    def target(self) -> str:
        """What a request line has."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    def connection(
        self, timeout: float | None, context: ssl.SSLContext | None = None
    ) -> http.client.HTTPConnection:
        """A connection, not connected yet.

        :param timeout: seconds for connecting, and for each wait; None for no limit.
        :param context: for https; None for the system's authorities.
        """
        if self.socket:
            return _UnixConnection(self.socket, timeout)
        if self.scheme == "http":
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
