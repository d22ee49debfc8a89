"""A request on its way through the front."""

from __future__ import annotations

import os
import re
import time
from itertools import count
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from .http1 import Head

if TYPE_CHECKING:
    from .connection import Connection

_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-:/+=@]{1,128}")
# W3C Trace Context, version 00: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_numbers = count(1)
_process = os.urandom(6).hex()


class Request:
    """A complete request.

    `number` is unique in this process, `request_id` the client's `X-Request-Id` or one made
    here. `began` is when its first byte came, `arrived` its last, `dispatched` when a worker got
    it (all `time.monotonic()`, or None). `status` and `sent` (bytes) are those of the answer.
    """

    __slots__ = (
        "arrived", "began", "body", "connection", "dispatched", "head", "number", "request_id",
        "sent", "stages", "status", "worker",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: Head, body: bytes, began: float) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.began = began
        self.arrived = time.monotonic()
        self.dispatched: Optional[float] = None
        self.number = next(_numbers) & 0xFFFFFFFF
        given = head.headers.get("x-request-id", "")
        if _REQUEST_ID.fullmatch(given):
            self.request_id = given
        else:
            self.request_id = "{}-{:x}".format(_process, self.number)
        self.worker: Any = None
        self.status = 0
        self.sent = 0
        self.stages: List[Tuple[str, float]] = []

    @property
    def traceparent(self) -> Optional[str]:
        """The client's trace context, if it sent a valid one."""
        given = self.head.headers.get("traceparent", "")
        return given if _TRACEPARENT.fullmatch(given) else None
