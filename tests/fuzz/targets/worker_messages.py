"""What the front reads from a worker, to which the worker's model may write as well.

The bytes come in pieces: messages, or one named exception; nothing else, and nothing that the
interpreter does not survive.
"""

from __future__ import annotations

import marshal
from pathlib import Path
from typing import Any

from scoring_server.worker import channel
from tests.fuzz.target import Found, Input, Target

# The exception for bytes that are no message.
REFUSED = channel.NotAMessage
KINDS = range(channel.REQUEST, channel.FAILED + 1)


def prepare(_folder: Path) -> Input:
    return take


def take(data: bytes) -> None:
    decoder = channel.Decoder(channel.new_mark())
    size = 1 + int.from_bytes(data[:2], "little")
    try:
        for start in range(2, len(data), size):
            for message in decoder.feed(data[start : start + size]):
                if message.kind not in KINDS:
                    raise Found(f"a message of the unknown kind {message.kind}")
    except REFUSED:
        return


def _meta(*values: Any) -> list[str]:
    return [marshal.dumps(value).decode("latin-1") for value in values]


TARGET = Target(
    prepare,
    longest=4096,
    seconds=1.0,
    words=_meta(None, ("200 OK", []), (0.5,)),
)
