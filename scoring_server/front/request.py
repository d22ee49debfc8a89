"""A request on its way through the front, and what it asks of those that it comes by."""

from __future__ import annotations

import asyncio
import marshal
import os
import re
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Optional, Tuple

from ..route_table import Match
from ..routes import Answer, Headers, StageTimes
from .http1 import Head, HttpError

if TYPE_CHECKING:
    from ..tracing.tracer import RequestTrace

_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-:/+=@]{1,128}")
# W3C Trace Context, version 00: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_numbers = count(1)
_process = os.urandom(6).hex()


class Client(asyncio.Protocol):
    """A client's connection, as the rest of the front sees it.

    `peer` is its address and port. `unsent` are the bytes that the client had not read when it was
    last looked at, `held_up` the link of the process that waits for it to read on.
    """

    transport: Any
    peer: Tuple[str, str]
    unsent: Optional[int] = None
    held_up: Any = None

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        raise NotImplementedError

    @property
    def has_begun_answer(self) -> bool:
        """Whether the head of an answer has been sent and its end has not."""
        raise NotImplementedError

    def answer(self, request: PendingRequest, answer: Answer) -> None:
        """Write a whole answer."""
        raise NotImplementedError

    def begin(self, request: PendingRequest, status: int, headers: Headers) -> None:
        """Write the head of an answer whose length is not known; `piece` and `end` follow."""
        raise NotImplementedError

    def piece(self, request: PendingRequest, data: bytes) -> None:
        """Write a piece of a streamed body."""
        raise NotImplementedError

    def end(self, request: PendingRequest, *, complete: bool = True) -> None:
        """End a streamed answer; one that is not complete ends with the connection."""
        raise NotImplementedError

    def refuse(self, error: HttpError) -> None:
        """Answer what will not be read to its end, and close."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the connection, whatever is under way."""
        self.transport.abort()

    def close(self) -> None:
        """Close an idle connection, or cut one that is in the midst of something."""
        raise NotImplementedError


class PendingRequest:
    """A complete request that has yet to be answered.

    `number` is unique in this process, `request_id` the client's `X-Request-Id` or one made
    here. `began` is when its first byte came, `arrived` its last, `dispatched` when a process got
    it (all `time.monotonic()`, or None); `worker` is the link of that process. `status` and `sent`
    (bytes) are those of the answer, `stages` what it took, `streamed` when its first piece was
    written (or None). `is_known` is False where nobody could look whether its sender has the token.
    `trace` is None where it is not traced.
    """

    __slots__ = (
        "arrived", "began", "body", "client", "dispatched", "head", "is_known", "match", "number",
        "request_id", "sent", "stages", "status", "streamed", "trace", "worker",
    )  # fmt: skip

    def __init__(self, client: Client, head: Head, match: Match, body: bytes, began: float) -> None:
        self.client = client
        self.head = head
        self.match = match
        self.body = body
        self.began = began
        self.arrived = time.monotonic()
        self.dispatched: Optional[float] = None
        self.number = next(_numbers) & 0xFFFFFFFF
        given = head.headers.get("x-request-id", "")
        if given and _REQUEST_ID.fullmatch(given):
            self.request_id = given
        else:
            self.request_id = "{}-{:x}".format(_process, self.number)
        self.worker: Any = None
        self.status = 0
        self.sent = 0
        self.stages: StageTimes = ()
        self.streamed: Optional[float] = None
        self.trace: Optional[RequestTrace] = None
        self.is_known = True

    def packed(self) -> bytes:
        """The meta value of its message to a process, marshalled; once for a head that stays."""
        head, match, trace = self.head, self.match, self.trace
        if trace is None and head.packed is not None:
            return head.packed
        headers = head.headers if trace is None else trace.below(head.headers)
        meta = (match.place, head.method, head.path, match.params, head.query, headers)
        packed = marshal.dumps(meta)
        if trace is None:
            head.packed = packed
        return packed

    def abort(self) -> None:
        """Cut its client's connection."""
        self.client.abort()

    @property
    def traceparent(self) -> Optional[str]:
        """The client's trace context, if it sent a valid one."""
        given = self.head.headers.get("traceparent", "")
        return given if _TRACEPARENT.fullmatch(given) else None


class RequestHandler:
    """What a connection does with its requests."""

    def admit(self, head: Head) -> Match:
        """Look at a head before the body is read.

        :raises HttpError: the request is not let in: 401, 413 or 503.
        """
        raise NotImplementedError

    def handle(self, request: PendingRequest) -> None:
        """Have a complete request answered."""
        raise NotImplementedError

    def refuse(self, client: Client, head: Optional[Head], error: HttpError) -> None:
        """Answer a request that will not be read to its end; its connection is to be closed."""
        raise NotImplementedError

    def client_gone(self, request: PendingRequest) -> None:
        """Nobody waits for this request's answer any more."""
        raise NotImplementedError

    def done(self, request: PendingRequest) -> None:
        """The answer has been written."""
        raise NotImplementedError
