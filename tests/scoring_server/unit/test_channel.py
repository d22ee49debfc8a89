"""The channel between the front and a worker."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from scoring_server.worker.channel import REQUEST, Channel, encode, new_mark

MARK = new_mark()


@pytest.fixture(params=[False, True], ids=["sleeps", "stays-awake"])
def ends(request):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, Channel(theirs, MARK, stay_awake=request.param)


def test_requests_come_in_order_and_then_the_end(ends):
    front, channel = ends
    got = []
    for number in range(1, 6):
        front.sendall(
            b"".join(encode(MARK, REQUEST, number, ("meta", number), b"body %d" % number))
        )
        message = channel.read()
        got.append((message.number, message.meta, message.body))
    assert got == [(n, ("meta", n), b"body %d" % n) for n in range(1, 6)]
    front.close()
    assert channel.read() is None


def test_a_large_message_comes_in_pieces(ends):
    front, channel = ends
    body = bytes(range(256)) * 40_000
    pieces = encode(MARK, REQUEST, 1, None, b"") + encode(MARK, REQUEST, 2, None, body)
    sender = threading.Thread(target=lambda: [front.sendall(piece) for piece in pieces])
    sender.start()
    assert channel.read().number == 1
    assert channel.read().body == body
    sender.join()


def test_waiting_for_a_request_that_does_not_come_costs_no_processor_time(ends):
    front, channel = ends
    for number in (1, 2, 3):
        front.sendall(b"".join(encode(MARK, REQUEST, number)))
        channel.read()
    late = threading.Timer(0.5, front.sendall, [b"".join(encode(MARK, REQUEST, 4))])
    late.start()
    before = time.thread_time()
    assert channel.read().number == 4
    # Staying awake all that time would be 0.5 s.
    assert time.thread_time() - before < 0.1
    late.join()


def test_together_are_those_that_have_come(ends):
    front, channel = ends
    front.sendall(b"".join(b"".join(encode(MARK, REQUEST, number)) for number in (1, 2, 3, 4)))
    assert [message.number for message in channel.read_together(3, 0.0)] == [1, 2, 3]
    assert [message.number for message in channel.read_together(3, 0.0)] == [4]
    front.close()
    assert channel.read_together(3, 0.0) == []
