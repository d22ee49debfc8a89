"""What the front reads from a worker, to which the worker's model may write as well.

The bytes come in pieces: messages, or one named exception; nothing else, and nothing that the
interpreter does not survive.
"""

from __future__ import annotations

import marshal
from pathlib import Path

from scoring_server.worker import channel
from tests.fuzz.target import Found, Input, Target

# The exception for bytes that are no message; none yet.
REFUSED: tuple[type[Exception], ...] = ()
KINDS = range(channel.REQUEST, channel.FAILED + 1)
# A decoder that waits for more than this has taken garbage for a length.
LONGEST_MESSAGE = 1 << 34


def prepare(_folder: Path) -> Input:
    return take


def take(data: bytes) -> None:
    decoder = channel.Decoder()
    size = 1 + int.from_bytes(data[:2], "little")
    try:
        for start in range(2, len(data), size):
            for message in decoder.feed(data[start : start + size]):
                if message.kind not in KINDS:
                    raise Found(f"a message of the unknown kind {message.kind}")
    except REFUSED:
        return


def _message(kind: int, number: int, meta: object, body: bytes = b"") -> str:
    return b"".join(channel.encode(kind, number, meta, body)).decode("latin-1")


TARGET = Target(
    prepare,
    longest=4096,
    seconds=1.0,
    words=[marshal.dumps(each).decode("latin-1") for each in (None, ("200 OK", []), (0.5,))],
)
