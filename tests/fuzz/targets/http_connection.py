"""A connection of the front, fed with bytes in pieces.

Nothing but `HttpError` may be raised on the way (the front answers it); what is kept is bounded;
and the same bytes are the same requests however they were cut into pieces.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoring_server.access_token import AccessToken
from scoring_server.config import ServerConfig
from scoring_server.front import connection as connections
from scoring_server.front.connection import Connection
from scoring_server.front.front import Front
from scoring_server.front.http1 import MAX_HEAD
from scoring_server.protocols.registry import route_groups
from scoring_server.route_table import RouteTable
from scoring_server.routes import Answer
from scoring_server.service import Handler, Service
from scoring_server.status import StatusChannel
from tests.fuzz.target import Found, Input, Target

MAX_BODY = 1 << 16
PIECES = (1, 2, 7, 64, 1024, 1 << 20)
# A head that has not ended, or what was sent ahead; and one piece more.
MOST_KEPT = max(MAX_HEAD, connections._MAX_AHEAD) + max(PIECES[:-1])

Answered = tuple[object, ...]
# --- the seam: how a front is made, and how it hands a request on --------------------------------


def front_for(loop: asyncio.AbstractEventLoop, take: Callable[[Any], None]) -> Front:
    """A front without processes: requests for the model and for pages go to `take`."""
    config = ServerConfig.from_dict(
        {
            "model": {"path": "/", "flavors": {}},
            "server": {"max_body": MAX_BODY, "access_log": False},
        }
    )

    service = Service(config, RouteTable(route_groups(config)), Handler, Handler)

    async def make() -> Front:
        return Front(service, socket.socket(), StatusChannel(None), AccessToken.read(None))

    front = loop.run_until_complete(make())
    front._dispatcher.put = take  # type: ignore[method-assign, assignment]
    # A process that is forked in a fuzzer ends as a find of its own.
    front._dispatcher.put_page = take  # type: ignore[method-assign, assignment]
    return front


def new_connection(front: Front) -> Connection:
    return Connection(front._connections, front)


def answer(request: Any) -> None:
    request.client.answer(request, Answer(200, [], b"{}"))


# -------------------------------------------------------------------------------------------------


class FakeTransport:
    """Takes what is written, and loses the connection when told to close."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.written = bytearray()
        self.is_reading = True
        self.is_closed = False
        self.protocol: Any = None

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def write(self, data: bytes) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    abort = close


def prepare(_folder: Path) -> Input:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    failures: list[BaseException] = []
    loop.set_exception_handler(
        lambda _, context: failures.append(context.get("exception") or Found(str(context)))
    )
    waiting: list[Any] = []
    front = front_for(loop, waiting.append)

    def turn() -> None:
        loop.call_soon(loop.stop)
        loop.run_forever()
        if failures:
            raise failures.pop()

    def feed(data: bytes, size: int) -> list[Answered]:
        """The requests that a new connection makes of the data, in pieces of `size`."""
        requests: list[Answered] = []
        transport = FakeTransport(loop)
        connection = new_connection(front)
        transport.protocol = connection
        connection.connection_made(transport)

        def answer_all() -> None:
            seen = -1
            while waiting or len(transport.written) != seen:
                seen = len(transport.written)
                while waiting:
                    request = waiting.pop()
                    head = request.head
                    requests.append(
                        (head.method, head.path, head.query, head.headers, request.body)
                    )
                    answer(request)
                turn()

        for start in range(0, len(data), size):
            for _ in range(1000):
                if transport.is_reading or transport.is_closed:
                    break
                turn()
            if transport.is_closed:
                break
            connection.data_received(data[start : start + size])
            answer_all()
            kept = len(connection._buffer)
            if kept > MOST_KEPT + min(size, len(data)):
                raise Found(f"{kept} bytes are kept of what came so far")
        answer_all()
        # Of two things that are wrong, the first to be seen depends on the pieces.
        answers = [
            b"refused" if status.startswith(b"4") else status
            for status in re.findall(
                rb"^HTTP/1\.1 (\d+) (?!Continue)", bytes(transport.written), re.M
            )
        ]
        connection.eof_received()
        transport.close()
        turn()
        waiting.clear()
        return [*requests, tuple(answers)]

    def take(data: bytes) -> None:
        if len(data) < 2:
            return
        # The rest of the input once or, for what only length brings out, many times.
        wire = data[2:] * (1, 1, 1, 50)[data[1] % 4]
        whole = feed(wire, len(wire) or 1)
        size = PIECES[data[0] % len(PIECES)]
        if len(wire) // size > 20_000:
            return
        cut = feed(wire, size)
        if whole != cut:
            raise Found(f"in one piece {whole!r}, in pieces of {size} {cut!r}")

    return take


TARGET = Target(
    prepare,
    longest=8192,
    seconds=5.0,
    megabytes=32,
    words=(
        "GET ", "POST ", "HEAD ", " /invocations", " /ping", " /metrics", " HTTP/1.1\r\n",
        " HTTP/1.0\r\n", "\r\n", "\r\n\r\n", "Host: x\r\n", "Content-Length: ",
        "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n",
        "Expect: 100-continue\r\n", "Authorization: Bearer x\r\n", "0\r\n\r\n", "5\r\nhello\r\n",
        ";a=b", "X-Request-Id: ", "http://x/", "traceparent: ", "\n", "\t", "\x80", "ffffffff",
    ),
)  # fmt: skip
