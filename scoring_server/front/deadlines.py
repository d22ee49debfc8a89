"""Many deadlines of one length, with one timer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Callable, Dict, Optional

from .survival import give_up

logger = logging.getLogger(__name__)


class Deadlines:
    """Lets items expire that have not been removed in time.

    All last equally long, so that the first added is the first due: a dict keeps that order, and
    adding and removing cost next to nothing.

    :param seconds: how long after it was added an item is due.
    :param expire: called with each item that is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        expire: Callable[[Any], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._expire = expire
        self._due: Dict[Any, float] = {}
        self._timer: Optional[asyncio.TimerHandle] = None

    def add(self, item: Any) -> None:
        """Start the item's time, anew if it has one."""
        self._due.pop(item, None)
        self._due[item] = time.monotonic() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._check)

    def remove(self, item: Any) -> None:
        """Forget the item, if it is there."""
        self._due.pop(item, None)

    def oldest(self) -> Optional[Any]:
        """The item that is due first; None where there is none."""
        return next(iter(self._due), None)

    def _check(self) -> None:
        self._timer = None
        now = time.monotonic()
        for item, due in list(self._due.items()):
            if due > now:
                self._timer = self._loop.call_later(due - now, self._check)
                return
            del self._due[item]
            try:
                self._expire(item)
            except Exception:
                # The deadlines of all others depend on this going on.
                logger.exception("What has taken too long could not be ended.")
                give_up(item)
