"""Takes connections from the listening socket, and their TLS handshakes to an end.

What has been accepted counts from then on, long before it is a client with a request.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any, Callable, Dict, Optional

from .connections import Connections
from .request import Client

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
# Connections that one turn of the loop takes; what has to make room for them is closed in the next.
_AT_A_TIME = 16
# Until the next try where the system has no room for one more.
_RETRY_SECONDS = 0.1


class Acceptor:
    """Accepts on the listener of `connections` once started.

    :param make_client: makes the protocol of a connection.
    """

    def __init__(
        self,
        connections: Connections,
        tls: Optional[ssl.SSLContext],
        make_client: Callable[[], Client],
    ) -> None:
        self._connections = connections
        self._loop = connections.loop
        self._make_client = make_client
        self._is_stopped = False
        self._tls: Dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_handshake_timeout": HANDSHAKE_SECONDS}

    def start(self, backlog: int) -> None:
        """Listen.

        :param backlog: how many connections may wait in the kernel.
        """
        listener = self._connections.listener
        listener.setblocking(False)
        listener.listen(backlog)
        self._resume()

    def stop(self) -> None:
        """Accept no more; the listener is left as it is."""
        self._is_stopped = True
        self._loop.remove_reader(self._connections.listener)

    def _resume(self) -> None:
        if not self._is_stopped:
            self._loop.add_reader(self._connections.listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                connection, _ = self._connections.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._wait(error)
                return
            connection.setblocking(False)
            self._connections.accepted(connection)
            self._loop.create_task(self._connect(connection))

    def _wait(self, error: OSError) -> None:
        """There are no descriptors, or no memory, for one more: make room, and try again."""
        logger.warning("No connection can be accepted; tried again at once: %s.", error)
        self._connections.close_one()
        self._loop.remove_reader(self._connections.listener)
        self._loop.call_later(_RETRY_SECONDS, self._resume)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_client, connection, **self._tls)
        except (OSError, asyncio.TimeoutError):
            # It has gone, speaks no TLS, or took too long to.
            connection.close()
        except Exception:
            logger.exception("A connection could not be taken.")
            connection.close()
        finally:
            self._connections.pending.pop(connection, None)
