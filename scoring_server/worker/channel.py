"""What the front and its workers say to each other: messages on a pair of connected sockets.

A message is a head (kind, request number, lengths), a meta value (marshalled: both ends are forks
of one process) and a body of bytes. The model has the worker's end of the sockets too, and may
write there what it likes: each message begins and ends with a mark that only the two ends know, so
that what anybody else has written before, within or instead of one is told from it, and never
reaches marshal.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import socket
import struct
import time
from collections import deque
from typing import Any, Deque, Iterator, List, NamedTuple, Optional, Set

REQUEST = 1  # to the worker: (place, method, path, params, query, headers), the body
CANCEL = 2  # to the worker: nobody waits for this streamed answer any more
ANSWER = 3  # from the worker: (status, headers, stages), the whole body
BEGIN = 4  # from the worker: (status, headers, stages) of a streamed answer
PIECE = 5  # from the worker: a piece of its body
END = 6  # from the worker: the streamed answer is complete
LOADED = 7  # from the worker: it has the model; (seconds,)
FAILED = 8  # from the worker: it cannot load the model; (message, hint, traceback)

# Bytes of a mark, of the largest meta (a head of HTTP, whose Latin-1 takes twice its bytes here)
# and of the largest body.
_MARK_SIZE = 8
_MAX_META = 1 << 17
MAX_BODY = 1 << 31
# Of a text in a meta value, such as a traceback.
MAX_TEXT = 1 << 14

_NUMBER = struct.Struct("<I")
_HEAD = struct.Struct("<8sBIIQ")
# More at a time is a new mapping of memory for each read, and costs several times the read.
_READ_SIZE = 1 << 16
# A process that sleeps comes back late and finds the processor's caches cold: some 0.2 ms for a
# model that takes 0.7. Who is asked again within this many seconds waits for that awake.
_AWAKE_SECONDS = 0.0003


class Message(NamedTuple):
    """One message; `meta` is None where there is none."""

    kind: int
    number: int
    meta: Any
    body: bytes


class NotAMessage(Exception):
    """What came was not written by the other end's code."""


def new_mark() -> bytes:
    """A mark for the messages of one pair of ends; make it before the fork."""
    return os.urandom(_MARK_SIZE)


def encode(mark: bytes, kind: int, number: int, meta: Any = None, body: bytes = b"") -> List[bytes]:
    """The message's bytes, in pieces so that a large body is not copied."""
    return frame(mark, kind, number, marshal.dumps(meta), body)


def frame(mark: bytes, kind: int, number: int, packed: bytes, body: bytes) -> List[bytes]:
    """As `encode`, of a meta value that is marshalled already."""
    head = _HEAD.pack(mark, kind, number, len(packed), len(body))
    if len(body) < 1 << 14:
        return [b"".join((head, packed, body, mark))]
    return [head + packed, body, mark]


class Decoder:
    """Makes messages of the bytes that `feed` is given.

    :param mark: that of the messages.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._buffer = bytearray()
        self._wanted = _HEAD.size

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes.

        :raises NotAMessage: the other end's code did not write it.
        """
        source: Any = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
        start, size, ours = 0, len(source), self._mark
        while size - start >= self._wanted:
            mark, kind, number, meta_size, body_size = _HEAD.unpack_from(source, start)
            if mark != ours or meta_size > _MAX_META or body_size > MAX_BODY:
                raise _not_a_message(source[start:])
            meta_start = start + _HEAD.size
            body_start = meta_start + meta_size
            end = body_start + body_size
            if size < end + _MARK_SIZE:
                self._wanted = end + _MARK_SIZE - start
                break
            if source[end : end + _MARK_SIZE] != ours:
                raise NotAMessage("a message does not end where it should")
            with memoryview(source) as view:
                meta = marshal.loads(view[meta_start:body_start])
                body = bytes(view[body_start:end])
            start = end + _MARK_SIZE
            self._wanted = _HEAD.size
            yield Message(kind, number, meta, body)
        if source is self._buffer:
            del source[:start]
        elif start < size:
            self._buffer += data[start:]
        # Of garbage, not so much may come as makes a head.
        if self._buffer and not ours.startswith(self._buffer[:_MARK_SIZE]):
            raise _not_a_message(self._buffer)


def _not_a_message(found: Any) -> NotAMessage:
    return NotAMessage("where a message should begin: {!r}".format(bytes(found[:40])))


class Begun:
    """The numbers of the requests that a worker has in hand, in memory that outlives it.

    :param threads: how many it answers at a time; each has a slot of its own.
    """

    def __init__(self, threads: int) -> None:
        self._memory = mmap.mmap(-1, _NUMBER.size * threads)

    def note(self, slot: int, number: int) -> None:
        """A thread of the worker begins a request; 0: it has ended it."""
        _NUMBER.pack_into(self._memory, _NUMBER.size * slot, number)

    def numbers(self) -> Set[int]:
        """What it has in hand, or had when it died."""
        return {number for (number,) in _NUMBER.iter_unpack(self._memory[:])}


class Channel:
    """The worker's end: blocking reads and writes.

    :param connection: the connected socket.
    :param mark: that of the messages.
    :param stay_awake: whether to wait without sleeping for requests that follow closely. It takes
        a processor that nobody else needs, and a process without other threads.
    """

    def __init__(self, connection: socket.socket, mark: bytes, *, stay_awake: bool = False) -> None:
        self.connection = connection
        self.mark = mark
        connection.setblocking(True)
        self._decoder = Decoder(mark)
        self._messages: Deque[Message] = deque()
        self.cancelled: Set[int] = set()
        self._stay_awake = stay_awake
        self._follow_closely = False

    def read(self) -> Optional[Message]:
        """The next request; None once the front has closed its end."""
        while not self._messages:
            if not (self._receive_awake() if self._stay_awake else self._receive()):
                return None
        return self._messages.popleft()

    def _receive_awake(self) -> bool:
        """Receive; if what came last came soon, look for it for a while before sleeping."""
        until = time.monotonic() + _AWAKE_SECONDS
        try:
            while self._follow_closely and time.monotonic() < until:
                try:
                    return self._receive(socket.MSG_DONTWAIT)
                except BlockingIOError:
                    os.sched_yield()
            return self._receive()
        finally:
            self._follow_closely = time.monotonic() < until

    def read_together(self, most: int, wait: float) -> List[Message]:
        """The next request and those that are here by now, `most` at a time; none at the end.

        :param wait: how long to wait for more after the first, in seconds.
        """
        first = self.read()
        if first is None:
            return []
        deadline = time.monotonic() + wait
        while len(self._messages) < most - 1:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.connection], [], [], left)[0]:
                break
            if not self._receive():
                break
        count = min(len(self._messages), most - 1)
        return [first, *(self._messages.popleft() for _ in range(count))]

    def write(self, kind: int, number: int, meta: Any = None, body: bytes = b"") -> None:
        """Send one message."""
        for piece in encode(self.mark, kind, number, meta, body):
            self.connection.sendall(piece)

    def is_cancelled(self, number: int) -> bool:
        """Whether the front has said that nobody waits for this answer any more."""
        try:
            while True:
                if not self._receive(socket.MSG_DONTWAIT):
                    return True
        except BlockingIOError:
            return number in self.cancelled

    def _receive(self, flags: int = 0) -> bool:
        data = self.connection.recv(_READ_SIZE, flags)
        for message in self._decoder.feed(data):
            if message.kind == CANCEL:
                self.cancelled.add(message.number)
            else:
                self._messages.append(message)
        return bool(data)
