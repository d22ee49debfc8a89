"""What a worker decides from its settings, and what it reads of its channel."""

from __future__ import annotations

import select
import socket

import pytest

from scoring_server.config import ServerConfig, ServerSettings
from scoring_server.route_table import RouteTable
from scoring_server.routes import Answer, RouteGroup
from scoring_server.service import Handler, Service
from scoring_server.worker.channel import CANCEL, REQUEST, Begun, Channel, encode, new_mark
from scoring_server.worker.process import Worker, leaves_a_processor


@pytest.mark.parametrize(
    ("settings", "leaves"),
    [
        ({"processors": 2, "workers": 1}, True),
        # The control group's quota counts, however many processors the machine has.
        ({"processors": 1, "workers": 1}, False),
        ({"processors": 2, "workers": 2}, False),
        ({"processors": 4, "workers": 1, "threads": 2}, False),
    ],
)
def test_a_worker_waits_awake_where_a_processor_is_free_for_it(settings, leaves):
    assert leaves_a_processor(ServerSettings(**settings)) is leaves


class Streams(Handler):
    """Answers with more pieces than anybody takes; its file is written to in between."""

    def __init__(self, between):
        self._between = between
        self.has_ended = False

    def answer(self, request):
        return Answer(200, [], self._pieces())

    def _pieces(self):
        try:
            for _ in range(1000):
                yield b"piece"
                self._between()
        finally:
            self.has_ended = True


@pytest.mark.parametrize("threads", [1, 2])
def test_only_the_main_thread_reads_where_there_are_several(threads):
    mark = new_mark()
    front, end = socket.socketpair()
    with front, end:
        meta = (0, "POST", "/", {}, "", {})
        config = ServerConfig.from_dict({"model": {"path": "/"}})
        group = RouteGroup()
        table = RouteTable([group])
        table.routes = [(group, None)]
        channel = Channel(end, mark)
        handler = Streams(lambda: channel.cancelled.add(7) if threads > 1 else None)
        worker = Worker(
            channel, Begun(threads), handler, Service(config, table, None, None), threads
        )
        front.sendall(b"".join(encode(mark, REQUEST, 7, meta)))
        message = channel.read()
        front.sendall(b"".join(encode(mark, CANCEL, 7) + encode(mark, REQUEST, 8, meta)))
        worker._answer(message)
        assert handler.has_ended
        # What has come in the meantime is read by the thread that waits for it.
        is_unread = bool(select.select([end], [], [], 0)[0])
        assert is_unread is (threads > 1)
        assert channel.read().number == 8
