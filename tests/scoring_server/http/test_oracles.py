"""What our parser accepts, h11 and llhttp accept as well, and understand as the same requests."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring_server.http.readers import (
    Incomplete,
    Read,
    Refused,
    read_h11,
    read_llhttp,
    read_ours,
)
from tests.scoring_server.http.streams import corpus, stream

READERS = {"h11": read_h11, "llhttp": read_llhttp}
COUNT = 6000
# Of https://www.iana.org/assignments/http-methods, what llhttp takes.
REGISTERED = {
    *(
        "ACL",
        "BIND",
        "CHECKOUT",
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LINK",
        "LOCK",
        "M-SEARCH",
        "MERGE",
    ),
    *(
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "NOTIFY",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
    ),
    *("PROPPATCH", "PURGE", "PUT", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE"),
    *("UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
}


def reason_to_be_laxer(reader: str, wire: bytes, start: int, request: Read, error: str) -> str:
    """Why we accept a request that a reader refuses; fails where there is no reason."""
    if reader == "h11" and wire.startswith(b"\r\n", start):
        # RFC 9112, 2.2: a server should ignore empty lines before a request.
        return "an empty line before a request"
    is_like_registered = re.fullmatch(r"[A-Z][A-Z0-9_-]{0,31}", request.method)
    is_registered = request.method in REGISTERED
    if reader == "llhttp" and "InvalidMethod" in error and is_like_registered and not is_registered:
        # llhttp knows registered methods only; to us, those are answered with 405.
        return "a method that is not registered"
    pytest.fail(f"{reader} refuses what we accept: {error}\n{wire!r} at {start}")


def compare(wire: bytes) -> Counter[str]:
    """Read a stream as we do and as both do; what happened, counted."""
    seen: Counter[str] = Counter()
    start = 0
    may_follow = True
    while may_follow and start < len(wire):
        try:
            request, may_follow = read_ours(wire, start)
        except Refused:
            seen["refused"] += 1
            return seen
        except Incomplete:
            seen["incomplete"] += 1
            return seen
        seen["accepted"] += 1
        assert not {"content-length", "transfer-encoding"} <= set(request.headers), wire
        for name, reader in READERS.items():
            try:
                other = reader(wire, start)
            except Refused as error:
                seen[reason_to_be_laxer(name, wire, start, request, str(error))] += 1
                continue
            except Incomplete:
                pytest.fail(f"{name} waits for more where we see a request\n{wire!r} at {start}")
            if name == "llhttp" and "upgrade" in request.headers and other.end != request.end:
                # RFC 9110, 7.8: who does not change protocols ignores the field, as Java's client
                # counts on with each POST; to llhttp the body belongs to the other protocol.
                seen["a body beside an offer to upgrade"] += 1
                other = other._replace(body=request.body, end=request.end)
            assert other == request, (name, wire, start)
        start = request.end
    return seen


def test_a_generated_corpus() -> None:
    seen: Counter[str] = Counter()
    for wire in corpus(COUNT):
        seen += compare(wire)
    # The corpus asks something of both sides.
    assert seen["accepted"] > COUNT // 3, seen
    assert seen["refused"] > COUNT // 3, seen
    assert seen["an empty line before a request"] > 10, seen


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_streams_that_hypothesis_makes(random: Random) -> None:
    compare(stream(random))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.randoms(use_true_random=False))
def test_more_streams_that_hypothesis_makes(random: Random) -> None:
    compare(stream(random))


TOKENS = st.text("!#$%&'*+-.^`|~09azAZ", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=8)


HEADS_AND_CHUNKS = given(
    target=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=8),
    fields=st.lists(st.tuples(TOKENS, VALUES), max_size=4),
    data=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    trailers=st.lists(st.tuples(TOKENS, VALUES), max_size=3),
)


def compare_chunked(
    target: str, fields: list[tuple[str, str]], data: list[bytes], trailers: list[tuple[str, str]]
) -> None:
    def lines(pairs: list[tuple[str, str]]) -> bytes:
        return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in pairs)

    head = f"POST /{target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in data)
    wire = head + lines(fields) + b"\r\n" + chunks + b"0\r\n" + lines(trailers) + b"\r\n"
    compare(wire + wire)


@settings(max_examples=100, deadline=None)
@HEADS_AND_CHUNKS
def test_heads_chunks_and_trailers_of_any_text(**drawn: Any) -> None:
    compare_chunked(**drawn)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@HEADS_AND_CHUNKS
def test_more_heads_chunks_and_trailers(**drawn: Any) -> None:
    compare_chunked(**drawn)
