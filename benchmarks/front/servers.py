"""Servers that `__main__.py` measures: ``python servers.py WHAT DESCRIPTOR``.

Each serves on the bound socket DESCRIPTOR, is pinned to the first processor, and is killed at the
end. "front" is the project's (of whichever tree is on PYTHONPATH), with one worker whose model
costs nothing; the others are floors: an asyncio protocol with httptools that parses a request and
answers with bytes that are always the same ("asyncio"), or has another process answer over a pair
of sockets ("asyncio-hop"); both with uvloop too. Whatever they have besides the front (a worker,
the other end of the hop) runs on the other processors.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections import deque
from pathlib import Path
from typing import Any

ANSWER = b'{"predictions": [10.0, 10.0, 10.0]}'
# As long as what the front writes.
WHOLE = b"""HTTP/1.1 200 OK\r
Date: Wed, 25 Nov 2026 16:30:00 GMT\r
Content-Type: application/json\r
X-Request-Id: 0123456789ab-123456\r
Content-Length: %d\r
\r
""" % len(ANSWER)
_LENGTH = struct.Struct("<Q")


def pin(first: bool) -> None:
    """Run on the first processor, or on all others."""
    there = sorted(os.sched_getaffinity(0)) if first else list(range(os.cpu_count() or 1))
    os.sched_setaffinity(0, there[:1] if first else there[1:] or there)


def hurry() -> None:
    """Come before others where that is allowed: who waits for a processor finds its caches cold."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        # Linux weighs sessions against each other, and what is in one among itself.
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text("-15")


class Floor(asyncio.Protocol):
    """Parses requests, and answers each with the same bytes."""

    def __init__(self, hop: Hop | None) -> None:
        import httptools

        self._hop = hop
        self._make = httptools.HttpRequestParser
        self._parser = self._make(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self._hop is None or not self.body:
            self.transport.write(WHOLE + ANSWER)
        else:
            self._hop.send(self)


class Hop(asyncio.Protocol):
    """The way to another process and back: a length and so many bytes, both ways, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Floor] = deque()
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, client: Floor) -> None:
        """Have the other process answer."""
        self._waiting.append(client)
        self.transport.write(_LENGTH.pack(len(client.body)) + client.body)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for answer in _taken(self):
            transport = self._waiting.popleft().transport
            if not transport.is_closing():
                transport.write(WHOLE + answer)


def _taken(holder: Any) -> list[bytes]:
    """What is whole of the `_buffer` of a holder, which keeps the rest."""
    data, start, whole = holder._buffer, 0, []
    while len(data) >= start + _LENGTH.size:
        end = start + _LENGTH.size + _LENGTH.unpack_from(data, start)[0]
        if len(data) < end:
            break
        whole.append(data[start + _LENGTH.size : end])
        start = end
    holder._buffer = data[start:]
    return whole


class _Far:
    _buffer = b""


def _be_far_end(connection: socket.socket) -> None:
    pin(first=False)
    held = _Far()
    while data := connection.recv(1 << 18):
        held._buffer += data
        connection.sendall((_LENGTH.pack(len(ANSWER)) + ANSWER) * len(_taken(held)))


async def serve_floor(listener: socket.socket, has_hop: bool) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    hop = None
    if has_hop:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            _be_far_end(theirs)
            os._exit(0)
        theirs.close()
        ours.setblocking(False)
        hop = Hop()
        await loop.create_unix_connection(lambda: hop, sock=ours)
    await loop.create_server(lambda: Floor(hop), sock=listener, backlog=2048)
    print("ready", flush=True)
    await asyncio.Event().wait()


def serve_front(listener: socket.socket, **settings: Any) -> None:
    """Serve with a handler that answers every request alike."""
    from scoring_server.config import ModelConfig, ServerConfig, ServerSettings
    from scoring_server.routes import Answer
    from scoring_server.service import Handler
    from scoring_server.serving import make_service, serve
    from scoring_server.status import StatusChannel
    from scoring_server.worker.lifeline import Lifeline

    class Constant(Handler):
        """A model that costs nothing."""

        def answer(self, _request: Any) -> Answer:
            return Answer(200, [("Content-Type", "application/json")], ANSWER)

    def load() -> Handler:
        pin(first=False)
        return Constant()

    # As without pinning: the worker sees that a processor is left for it.
    server = ServerSettings(processors=os.cpu_count(), **settings)
    config = ServerConfig(model=ModelConfig(path="/"), server=server)
    service = make_service(config)._replace(load=load)
    serve(service, listener.detach(), StatusChannel(1), Lifeline(None))


def main(what: str, descriptor: str, *settings: str) -> None:
    """Be the server that was asked for."""
    listener = socket.socket(fileno=int(descriptor))
    hurry()
    pin(first=True)
    if what == "front":
        pairs = [each.split("=") for each in settings]
        serve_front(listener, **{name: int(value) for name, value in pairs})
        return
    if "uvloop" in what:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.run_until_complete(serve_floor(listener, "hop" in what))


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are the package's
    main(*sys.argv[1:])
