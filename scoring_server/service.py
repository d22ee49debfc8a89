"""What one server serves: the value that its processes have in common."""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .config import AUTO, ServerConfig, ServerSettings
from .route_table import RouteTable
from .routes import Answer, Request

# Exit codes of a process whose handler is of no more use.
EXIT_OUT_OF_MEMORY = 4
EXIT_MODEL_ENDED = 5

# Requests of one batch; and of a worker that proves whether it may make batches: until then it
# answers them one by one, and another worker may be free before it has done so.
MOST_TOGETHER = 256
_MOST_PROVING = 8
# Closed, on, the process that proves, until when batching rests.
_SHARED = struct.Struct("<BB2xId")
_CLOSED, _ON = 0, 1
_PROVER, _RESTS = struct.Struct("<I"), struct.Struct("<d")


class Handler:
    """Answers the requests that a process of the server is given.

    `can_batch` says that `answer_together` gains something. Once `exit_code` is not None, this
    process is of no more use: it is to end with that code, and to be replaced.
    """

    can_batch = False
    exit_code: Optional[int] = None

    def answer(self, request: Request) -> Answer:
        """The answer to one request, whatever is wrong with it."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what outlives this process; it answers no more."""

    def answer_together(
        self, requests: Sequence[Request], begin: Callable[[Sequence[int]], None]
    ) -> Iterator[List[Tuple[int, Answer]]]:
        """The answers to several, each with its place among them, as soon as they are there.

        :param begin: is told the places of those that it now has in hand; all, at first.
        """
        for place, request in enumerate(requests):
            begin([place])
            yield [(place, self.answer(request))]


class Batching:
    """How batching goes, in memory that the processes of a server share: made before the fork.

    What is written is one value each time, and who reads it late does what was right before.
    """

    def __init__(self, settings: ServerSettings) -> None:
        rows = settings.max_batch_rows
        self._is_auto = rows == AUTO
        # Each request has a row at least.
        self.most = MOST_TOGETHER if rows == AUTO else min(int(rows), MOST_TOGETHER)
        self._memory = mmap.mmap(-1, _SHARED.size)

    @classmethod
    def of(cls, settings: ServerSettings) -> Optional[Batching]:
        """That of a server; None where nothing is batched."""
        return cls(settings) if settings.max_batch_rows else None

    @property
    def state(self) -> str:
        """In one word: "proving", "on" or "closed"."""
        if self.is_closed:
            return "closed"
        return "on" if self._memory[_ON] or not self._is_auto else "proving"

    @property
    def is_closed(self) -> bool:
        """Whether nothing is batched any more."""
        return bool(self._memory[_CLOSED])

    @property
    def most_together(self) -> int:
        """How many requests a worker may have in hand now."""
        if self._memory[_CLOSED]:
            return 1
        if not self._is_auto:
            return self.most
        if time.monotonic() < _RESTS.unpack_from(self._memory, 8)[0]:
            return 1
        return self.most if self._memory[_ON] else _MOST_PROVING

    def close(self) -> None:
        """Batch nothing any more, for good."""
        self._memory[_CLOSED] = 1

    def open(self) -> None:
        """Something has proved itself."""
        self._memory[_ON] = 1

    def rest(self, seconds: float) -> None:
        """Batch nothing for so long."""
        _RESTS.pack_into(self._memory, 8, time.monotonic() + seconds)

    def begin_proof(self) -> bool:
        """Whether this process may predict what nobody has asked for; it tells of the end.

        :raises ProofLostError: a process has died of that.
        """
        prover = _PROVER.unpack_from(self._memory, 4)[0]
        if prover:
            try:
                os.kill(prover, 0)
            except ProcessLookupError as error:
                raise ProofLostError from error
            return False
        _PROVER.pack_into(self._memory, 4, os.getpid())
        return True

    def end_proof(self) -> None:
        """This process proves nothing now."""
        if _PROVER.unpack_from(self._memory, 4)[0] == os.getpid():
            _PROVER.pack_into(self._memory, 4, 0)


class ProofLostError(Exception):
    """A process has ended while it predicted several requests' rows together."""


class Service(NamedTuple):
    """The configuration, the routes, and what makes the handlers.

    :param load: gives a worker its handler, or raises `ModelLoadError`.
    :param load_pages: gives the pages' process its handler.
    :param load_seconds: how long loading the model took; None where each worker loads it.
    :param lane: how the direct lane stands.
    :param batching: how that goes in all processes; None where nothing is batched.
    """

    config: ServerConfig
    table: RouteTable
    load: Callable[[], Handler]
    load_pages: Callable[[], Handler]
    load_seconds: Optional[float] = None
    lane: Callable[[], Optional[str]] = lambda: None
    batching: Optional[Batching] = None

    def request(self, meta: Any, body: bytes) -> Request:
        """The request of a message, whose meta is (place, method, path, params, query, headers)."""
        place, method, path, params, query, headers = meta
        group, route = self.table.routes[place]
        return Request(group, route, method, path, params, query, headers, body)
