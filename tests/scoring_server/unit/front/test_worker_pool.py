"""The dispatcher and its workers: real forks, real sockets, a handler that needs no model."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

from scoring_server.access_token import AccessToken
from scoring_server.config import ServerConfig
from scoring_server.errors import ModelLoadError
from scoring_server.front.front import STOP_LINGER_SECONDS, Front
from scoring_server.front.worker_pool import WorkerEvents, WorkerLink, WorkerPool
from scoring_server.route_table import RouteTable
from scoring_server.routes import WORKER, Answer, Route, RouteGroup
from scoring_server.service import Handler, Service
from scoring_server.status import StatusChannel


class Commands(RouteGroup):
    name = "commands"
    routes = (Route("/do/<what>", ("POST",), WORKER),)


class Obedient(Handler):
    """Does what the path says."""

    def answer(self, request):
        what = request.params["what"]
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            time.sleep(60)
        body = b"%d" % os.getpid()
        if what == "stream":
            return Answer(200, [], iter([body, b" ", body]))
        return Answer(200, [("X-Length", str(len(request.body)))], body)


class Told(StatusChannel):
    """Keeps the events."""

    def __init__(self):
        super().__init__(None)
        self.events = []

    def send(self, event):
        self.events.append(type(event).__name__)

    def send_if_read(self, event):
        pass


def served(talk, load=Obedient, **settings):
    """What `talk(ask)` gives, the exit code, and the events, with a front in this process."""
    config = ServerConfig.from_dict({"model": {"path": "/"}, "server": settings})
    service = Service(config, RouteTable([Commands()]), load, Handler)
    told, listener = Told(), socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    async def ask(what, body=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /do/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
        writer.write(head.format(what, len(body)).encode() + body)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def main():
        front = Front(service, listener, told, AccessToken())
        running = asyncio.ensure_future(front.run())
        while "Ready" not in told.events and not running.done():
            await asyncio.sleep(0.01)
        result = None if running.done() else await talk(ask)
        front.stop(STOP_LINGER_SECONDS)
        return result, await asyncio.wait_for(running, 30), told.events

    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()


def test_a_worker_answers_until_the_server_is_told_to_stop():
    async def talk(ask):
        return [await ask("echo", b"x" * size) for size in (0, 10, 100000)]

    answers, code, events = served(talk)
    assert {status for status, _ in answers} == {200}
    assert {int(body) for _, body in answers}.isdisjoint({os.getpid()})
    assert code == 0
    assert events == ["Loaded", "Ready", "Draining"]


def test_a_worker_that_dies_costs_its_request_and_is_replaced():
    async def talk(ask):
        first = await ask("echo")
        lost = await ask("die")
        return first, lost, await ask("echo")

    (first, lost, after), code, events = served(talk)
    assert lost[0] == 500
    assert b"SIGKILL" in lost[1]
    assert after[0] == 200
    assert after[1] != first[1]
    assert code == 0
    assert "WorkerCrashed" in events


def test_a_prediction_that_takes_too_long_gets_504_and_its_worker_is_replaced():
    async def talk(ask):
        return await ask("hang"), await ask("echo")

    (late, after), _, events = served(talk, timeout=1.0)
    assert (late[0], after[0]) == (504, 200)
    # It was ended, and did not crash.
    assert "WorkerCrashed" not in events


def test_a_full_queue_refuses():
    async def talk(ask):
        asked = [asyncio.ensure_future(ask("hang")) for _ in range(8)]
        return sorted([(await each)[0] for each in asked])

    statuses, _, _ = served(talk, timeout=1.0, backlog=2)
    assert statuses.count(503) >= 5


def test_a_stream_comes_in_pieces():
    async def talk(ask):
        return await ask("stream")

    (status, body), _, _ = served(talk)
    assert status == 200
    assert body.count(b"\r\n") == 8  # three chunks and the last, with two line ends each


def test_a_model_that_no_worker_can_load_is_the_end():
    def load():
        raise ModelLoadError("no such model", "take another")

    result, code, events = served(None, load)
    # That the worker has ended may be noticed before the server has, or not.
    assert (result, code, events[0]) == (None, 1, "Failed")
    assert set(events[1:]) <= {"WorkerCrashed"}


def test_a_lone_worker_of_a_quick_model_is_given_several_requests_and_of_two_each_two():
    async def given(service_seconds, workers):
        config = ServerConfig.from_dict({"model": {"path": "/"}})
        service = Service(config, RouteTable([Commands()]), Obedient, Handler)
        # Nothing is forked here: these are the links of workers that have the model.
        pool = WorkerPool(service, None, WorkerEvents())
        pool.service_seconds = service_seconds
        for pid in range(1, workers + 1):
            link = pool.links[pid] = WorkerLink(pool, 1, None)
            link.is_loaded = True
        number = 0
        while number < 100:
            link = pool.free()
            if link is None:
                break
            number += 1
            link.outstanding[number] = None
        return sorted(len(link.outstanding) for link in pool.links.values())

    def check(*arguments):
        return asyncio.new_event_loop().run_until_complete(given(*arguments))

    assert check(0.0001, 1) == [9]
    assert check(0.00025, 1) == [5]
    assert check(0.004, 1) == [2]
    assert check(0.005, 1) == [1]
    # What one of several is given, no other one can take when it is free.
    assert check(0.0001, 2) == [2, 2]
    assert check(0.005, 2) == [1, 1]
