"""Deadlines of one length with one timer."""

from __future__ import annotations

import asyncio

from scoring_server.front.deadlines import Deadlines


def run(work):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


def test_what_is_not_removed_expires_in_order_and_what_is_added_again_later():
    async def work():
        expired, done = [], asyncio.Event()

        def expire(item):
            expired.append(item)
            if item == "again":
                done.set()

        deadlines = Deadlines(asyncio.get_running_loop(), 0.05, expire)
        for item in ("again", "first", "removed", "second"):
            deadlines.add(item)
        deadlines.remove("removed")
        deadlines.remove("never there")
        deadlines.add("again")
        await asyncio.wait_for(done.wait(), 30)
        return expired

    assert run(work) == ["first", "second", "again"]


def test_an_item_that_expires_may_get_its_time_anew():
    async def work():
        times, done = [], asyncio.Event()

        def expire(item):
            times.append(item)
            if len(times) < 3:
                deadlines.add(item)
            else:
                done.set()

        deadlines = Deadlines(asyncio.get_running_loop(), 0.01, expire)
        deadlines.add("item")
        await asyncio.wait_for(done.wait(), 30)
        return times

    assert run(work) == ["item"] * 3
