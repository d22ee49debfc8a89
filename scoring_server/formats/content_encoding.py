"""Compressed bodies (`Content-Encoding`), decoded within the limit that bodies have."""

from __future__ import annotations

import zlib
from typing import Dict, List

from ..errors import ScoringError, quote, too_large

HEADER = "content-encoding"
TAKEN = "gzip"
_GZIP = ("gzip", "x-gzip")  # RFC 9110, 8.4.1.3: the two are the same
# With its head and its checksum (RFC 1952), as zlib's `wbits` has it.
_GZIP_BITS = 16 + zlib.MAX_WBITS
# What is decoded at a time. What comes behind a member is copied once more.
_CHUNK = 1 << 16
# Compressors that work in blocks make a member of 64 KB; each takes some microseconds.
_MOST_MEMBERS = 1 << 16

# A byte of deflate is at most so many (https://zlib.net/zlib_tech.html).
_MOST_TIMES = 1032


def most_decoded(body: bytes, headers: Dict[str, str]) -> int:
    """Bytes that a compressed body may decode to, whatever is in it; 0 for one that is not."""
    return _MOST_TIMES * len(body) if HEADER in headers else 0


def decode_body(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its encoding.

    :param encoding: the value of `Content-Encoding`.
    :param limit: most bytes that it may decode to; no more than that is ever made.
    :raises ScoringError: the encoding is not gzip alone (415), the body is damaged (400) or
        decodes to more (413).
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _GZIP:
        raise ScoringError(
            "Content-Encoding {} is not supported; send {}, or the body as it is.".format(
                quote(encoding), TAKEN
            ),
            status=415,
            headers=[("Accept-Encoding", TAKEN)],
        )
    try:
        return _gunzip(memoryview(body), limit)
    except zlib.error as error:
        raise ScoringError("The body is not gzip: {}.".format(error)) from error


def _gunzip(body: memoryview, limit: int) -> bytes:
    pieces: List[bytes] = []
    at, left = 0, limit
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP_BITS)
        while not member.eof:
            chunk = body[at : at + _CHUNK]
            if not chunk:
                raise ScoringError("The body ends before its gzip does.")
            # One byte over the limit tells that there is more.
            piece = member.decompress(chunk, left + 1)
            left -= len(piece)
            if left < 0:
                raise too_large(limit)
            pieces.append(piece)
            at += len(chunk) - len(member.unused_data)
        if at == len(body):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    raise ScoringError("The body's gzip has more than {} members.".format(_MOST_MEMBERS))
