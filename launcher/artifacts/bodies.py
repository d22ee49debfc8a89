"""The bodies of answers, read and decoded in blocks of a bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from launcher.artifacts.source import ModelURIError
from launcher.artifacts.uris import origin_of
from launcher.quantities import format_size

if TYPE_CHECKING:
    import requests

METADATA_LIMIT = 64 * 1024 * 1024
"""Bytes of one answer that is no file of a model: JSON, an index, MLmodel; after decoding."""
BLOCK = 1024 * 1024
"""Bytes of a body that are held at once, at most."""
SMALL_BLOCK = 64 * 1024
"""The same where all of a block is lost when the connection is cut within it."""


def body_of(response: requests.Response) -> Iterator[bytes]:
    """Yield a body as it comes, decoded, in blocks of `BLOCK` bytes at most.

    What came before a cut is not lost in a buffer, and no block of a few bytes is decoded into
    gigabytes at once.

    :raises ModelURIError: it is encoded in a way that was not asked for and is not understood.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        yield from raw_blocks(response)
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ModelURIError(
            f"{origin_of(response.url)!r} sends the encoding {encoding[:40]!r}, which nobody asked "
            "for.",
            "Have the server send files as they are.",
        )
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: with the header of gzip or of zlib
    try:
        for block in raw_blocks(response):
            rest = block
            while rest and not decoder.eof:
                yield decoder.decompress(rest, BLOCK)
                rest = decoder.unconsumed_tail
    except zlib.error as error:
        raise ConnectionError(f"the body is damaged: {error}") from None
    if not decoder.eof:
        raise ConnectionError("the body ended early: incompleteread")


def raw_blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield a body as it comes, still encoded, in blocks of `BLOCK` bytes at most."""
    raw = response.raw
    # read1: urllib3 before 2.1 lacks it
    read = getattr(raw, "read1", None) or (lambda _size: raw.read(SMALL_BLOCK))
    while block := read(BLOCK):
        yield block


def start_of_body(response: requests.Response, count: int) -> bytes:
    """Return the first `count` bytes of a body, decoded."""
    start = bytearray()
    for block in body_of(response):
        start += block
        if len(start) >= count:
            break
    return bytes(start[:count])


def whole_body(response: requests.Response, url: str, limit: int) -> bytes:
    """Return a body, decoded.

    :raises ModelURIError: it has more than `limit` bytes.
    """
    body = start_of_body(response, limit + 1)
    if len(body) > limit:
        raise ModelURIError(
            f"Refused: the answer of {origin_of(url)!r} is longer than {format_size(limit)}.",
            "It is no list of files and no MLmodel; check the address.",
        )
    return body
