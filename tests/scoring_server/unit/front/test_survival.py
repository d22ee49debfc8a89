"""An exception in a callback ends what it was for, and nothing else."""

from __future__ import annotations

import asyncio

from scoring_server.front.deadlines import Deadlines
from scoring_server.front.survival import survive


class Broken(asyncio.Protocol):
    """Fails whenever it is called."""

    def __init__(self) -> None:
        self.is_given_up = False

    def fail(self) -> None:
        raise RuntimeError

    def abort(self) -> None:
        self.is_given_up = True


def test_a_deadline_that_fails_delays_no_other() -> None:
    expired = []

    def expire(item: object) -> None:
        if isinstance(item, Broken):
            item.fail()
        expired.append(item)

    async def run() -> None:
        deadlines = Deadlines(asyncio.get_running_loop(), 0.01, expire)
        for item in ("first", broken, "second"):
            deadlines.add(item)
        while len(expired) < 2:
            await asyncio.sleep(0.001)
        deadlines.add("third")
        while len(expired) < 3:
            await asyncio.sleep(0.001)

    broken = Broken()
    asyncio.run(asyncio.wait_for(run(), 30))
    assert expired == ["first", "second", "third"]
    assert broken.is_given_up


def test_a_callback_that_fails_gives_up_whose_it_is() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(survive)
        loop.call_soon(broken.fail)
        while not broken.is_given_up:
            await asyncio.sleep(0)

    broken = Broken()
    asyncio.run(asyncio.wait_for(run(), 30))
