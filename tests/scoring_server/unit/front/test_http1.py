"""The parser of heads and the decoder of chunked bodies, byte by byte."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from scoring_server.front import http1
from scoring_server.front.http1 import ChunkedBody, HttpError, parse_head

HOST = b"Host: x\r\n"


def head(line=b"GET / HTTP/1.1", fields=HOST):
    return parse_head((line + b"\r\n" + fields).rstrip(b"\r\n"))


def refused(function, *arguments):
    """The status and message of a refusal."""
    with pytest.raises(HttpError) as caught:
        function(*arguments)
    assert caught.value.message[0].isupper()
    assert caught.value.message.endswith(".")
    return caught.value.status, caught.value.message


def decode(wire, pieces=None, limit=1 << 20):
    """Decode a whole chunked body given in pieces; the body and what is left."""
    chunked = ChunkedBody(limit)
    buffer = bytearray()
    is_complete = False
    for piece in pieces or [wire]:
        buffer += piece
        if not is_complete:
            is_complete = chunked.take(buffer)
    assert is_complete
    return bytes(chunked.body), bytes(buffer)


# --- heads -------------------------------------------------------------------------------------


def test_a_head():
    parsed = head(
        b"POST /a%20b/c?d=1&e=%3F?[]{|}^` HTTP/1.1",
        HOST + b"Content-Length: 012\r\nX-A:\t b \t\r\nx-a: c\r\nX-Empty:\r\nX-O: \xe9\r\n",
    )
    assert (parsed.method, parsed.path, parsed.query) == ("POST", "/a%20b/c", "d=1&e=%3F?[]{|}^`")
    assert (parsed.version, parsed.length, parsed.keep_alive) == ("1.1", 12, True)
    assert parsed.headers == {
        "host": "x", "content-length": "012", "x-a": "b, c", "x-empty": "", "x-o": "\xe9",
    }  # fmt: skip


def test_names_that_wsgi_would_take_for_others_are_dropped():
    assert head(fields=HOST + b"Content_Length: 5\r\nX_Y: 1\r\n").headers == {"host": "x"}


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: x, Close\r\n", False),
        (b"1.1", b"Connection: enclosed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
        (b"1.0", b"Connection: no-keep-alive\r\n", False),
    ],
)
def test_keep_alive(version, connection, keep_alive):
    assert head(b"GET / HTTP/" + version, HOST + connection).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"//x/ping", "//x/ping", ""),
        (b"/?u=http://x/ping", "/", "u=http://x/ping"),
        (b"http://x", "/", ""),
        (b"http://x?u=/ping", "/", "u=/ping"),
        (b"HTTPS://X/a?b", "/a", "b"),
        (b"http://x/a?u=http://y/ping", "/a", "u=http://y/ping"),
    ],
)
def test_targets(target, path, query):
    parsed = head(b"GET " + target + b" HTTP/1.1")
    assert (parsed.path, parsed.query) == (path, query)


def test_the_whole_server_as_target():
    assert head(b"OPTIONS * HTTP/1.1").path == "*"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\rHTTP/1.1",
        b"\nGET / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b'GET /" HTTP/1.1',
        b"GET /#ping HTTP/1.1",
        b"GET /\\ping HTTP/1.1",
        b"GET /<a> HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / ICE/1.1",
        b"get / HTTP/1.1",
        b"Get / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"-GET / HTTP/1.1",
        b"A" * 33 + b" / HTTP/1.1",
        b"GET foo HTTP/1.1",
        b"GET foo?u=http://x/ping HTTP/1.1",
        b"GET ?u=http://x/ping HTTP/1.1",
        b"GET x:80 HTTP/1.1",
        b"GET ftp://x/ping HTTP/1.1",
        b"GET file:///ping HTTP/1.1",
        b"GET http:///ping HTTP/1.1",
        b"GET http:/ping HTTP/1.1",
        b"GET http://a@x/ping HTTP/1.1",
        b"GET http://x:y/ping HTTP/1.1",
        b"GET http://y/ping HTTP/1.1",
        b"GET ahttp://x/ping HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET */ping HTTP/1.1",
        b"OPTIONS *x HTTP/1.1",
        b"CONNECT x:80 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"PRI / HTTP/1.1",
        b"CONNECT http://x/ping HTTP/1.1",
    ],
)
def test_request_lines_that_are_refused(line):
    assert refused(head, line)[0] == 400


def test_a_method_of_32_bytes_is_the_longest():
    assert head(b"A" * 32 + b" / HTTP/1.1").method == "A" * 32


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        HOST + HOST,
        HOST + b"X-A : b\r\n",
        HOST + b" X-A: b\r\n",
        HOST + b"X-A: b\r\n c\r\n",
        HOST + b"X-A: b\r\n\tc: d\r\n",
        HOST + b"X-A\r\n",
        HOST + b": b\r\n",
        HOST + b"X A: b\r\n",
        HOST + b"X-\xe9: b\r\n",
        HOST + b"X-A: b\x00\r\n",
        HOST + b"X-A: b\nX-B: c\r\n",
        HOST + b"X-A: b\rX-B: c\r\n",
        HOST + b"X-A: b\x0bc\r\n",
        HOST + b"X-A: b\x7f\r\n",
        HOST + b"X_A : b\r\n",
        b"Host: a b\r\n",
        b"Host: a,b\r\n",
        b"Host: a/b\r\n",
        b"Host: a@b\r\n",
        b"Host: a:b\r\n",
        b"Host: a:1:2\r\n",
        b"Host: http://a\r\n",
        b"Host: [::1\r\n",
        b"Host: \xe9\r\n",
        HOST + b"Content-Length:\r\n",
        HOST + b"Content-Length: +5\r\n",
        HOST + b"Content-Length: -5\r\n",
        HOST + b"Content-Length: 0x5\r\n",
        HOST + b"Content-Length: 5_0\r\n",
        HOST + b"Content-Length: 5 0\r\n",
        HOST + b"Content-Length: 5, 5\r\n",
        HOST + b"Content-Length: 5.0\r\n",
        HOST + b"Content-Length: \xb25\r\n",
        HOST + b"Content-Length: 5\xa0\r\n",
        HOST + b"Content-Length: 1000000000000000000\r\n",
        HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n",
        HOST + b"Content-Length: 5\r\ncontent-length: 6\r\n",
        HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        HOST + b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        HOST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        HOST + b"Content-Type: text/csv\r\nContent-Type: application/json\r\n",
    ],
)
def test_header_fields_that_are_refused(fields):
    assert refused(head, b"POST / HTTP/1.1", fields)[0] == 400


@pytest.mark.parametrize(
    "coding",
    [b"", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity",
     b"chunked;q=1", b"xchunked", b'"chunked"'],
)  # fmt: skip
def test_transfer_codings_that_are_not_known(coding):
    assert refused(head, b"POST / HTTP/1.1", HOST + b"Transfer-Encoding: " + coding)[0] == 501


def test_chunked_coding_is_known_in_any_case_of_letters_but_not_in_http_1_0():
    assert head(b"POST / HTTP/1.1", HOST + b"Transfer-Encoding: Chunked").length is None
    assert refused(head, b"POST / HTTP/1.0", HOST + b"Transfer-Encoding: chunked")[0] == 400


@pytest.mark.parametrize("host", [b"", b"a", b"A.b-c_d:5000", b"127.0.0.1:", b"[::1]:80"])
def test_hosts(host):
    assert head(fields=b"Host: " + host).headers["host"] == host.decode()


def test_a_client_of_http_1_0_may_name_no_host():
    assert head(b"GET / HTTP/1.0", b"").headers == {}
    assert refused(head, b"GET / HTTP/1.0", b"Host: a b")[0] == 400


def test_the_number_of_header_fields_is_bounded():
    fields = [b"X-%d: a\r\n" % number for number in range(http1.MAX_HEADERS)]
    assert len(head(fields=HOST + b"".join(fields[1:])).headers) == http1.MAX_HEADERS
    assert refused(head, b"GET / HTTP/1.1", HOST + b"".join(fields))[0] == 431


# --- chunked bodies ----------------------------------------------------------------------------

CHUNKED = [
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"1\r\na\r\n0\r\n\r\n", b"a"),
    (b"F\r\n0123456789abcde\r\nf\r\nedcba9876543210\r\n0\r\n\r\n", b"0123456789abcdeedcba9876543210"),
    (b"2\r\n\r\n\r\n3\r\n1\r\n\r\n10\r\n0123456789abcdef\r\n1\r\nz\r\n0\r\n\r\n", b"\r\n1\r\n0123456789abcdefz"),
    (b"0001\r\na\r\n1\r\nb\r\n0000000000002\r\ncd\r\n0\r\n\r\n", b"abcd"),
    (b'1;a\r\nb\r\n1;c=d;e="f ;\t"\r\ng\r\n0;h=""\r\n\r\n', b"bg"),
    (b"1\r\na\r\n0\r\nX-A: b\r\nX-A:\r\n\r\n", b"a"),
]  # fmt: skip
NEXT = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(("wire", "body"), CHUNKED)
def test_chunked_bodies(wire, body):
    assert decode(wire + NEXT) == (body, NEXT)
    one_by_one = [wire[at : at + 1] for at in range(len(wire))]
    assert decode(wire, one_by_one) == (body, b"")
    for at in range(len(wire)):
        assert decode(wire, [wire[:at], wire[at:] + NEXT]) == (body, NEXT)


def test_any_sizes_of_chunks_in_any_pieces():
    source = random.Random(5)
    for _ in range(200):
        parts = []
        for _ in range(source.randrange(12)):
            size = source.choice((1, 2, 3, 9, 15, 16, 17, 300))
            parts.append(bytes(source.choice(b"\r\n0129;a") for _ in range(size)))
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        cuts = sorted(source.randrange(len(wire)) for _ in range(source.randrange(6)))
        pieces = [wire[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(wire)])]
        assert decode(wire, pieces) == (b"".join(parts), b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"\r\n0\r\n\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\t\r\na\r\n0\r\n\r\n",
        b"1 ;a\r\nb\r\n0\r\n\r\n",
        b"1; a\r\nb\r\n0\r\n\r\n",
        b"1;\r\nb\r\n0\r\n\r\n",
        b"1;a=\r\nb\r\n0\r\n\r\n",
        b"1;=a\r\nb\r\n0\r\n\r\n",
        b'1;a="\r\nb\r\n0\r\n\r\n',
        b'1;a="\\""\r\nb\r\n0\r\n\r\n',
        b"1;a\x80\r\nb\r\n0\r\n\r\n",
        b"1;a\n\r\nb\r\n0\r\n\r\n",
        b"1;a\r\r\nb\r\n0\r\n\r\n",
        b";a\r\n",
        b"+1\r\na\r\n0\r\n\r\n",
        b"-1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1_0\r\n",
        b"g\r\n",
        b"1h\r\n",
        b"1\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\ra\r\n0\r\n\r\n",
        b"1\r\r\na\r\n0\r\n\r\n",
        b"0000000000000001\r\na\r\n0\r\n\r\n",
        b"10000000000000001\r\na",
        b"0" * 1025,
        b"1;" + b"a" * 1025,
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\r0\r\n\r\n",
        b"1\r\na\r\r\n0\r\n\r\n",
        b"1\r\na\r\n\r\n0\r\n\r\n",
        b"1\r\na\r\n 0\r\n\r\n",
        b"10\r\n0123456789abcdef0\r\n\r\n",
    ],
)
def test_chunks_that_are_refused(wire):
    """At once, and not only after more bytes have come."""
    assert refused(decode, wire)[0] == 400
    assert refused(decode, wire, [wire[at : at + 1] for at in range(len(wire))])[0] == 400


def test_extensions_are_bounded_together():
    chunk = b"1;" + b"a" * 999 + b"\r\nb\r\n"
    assert decode(chunk * 16 + b"0\r\n\r\n")[0] == b"b" * 16
    assert refused(decode, chunk * 17 + b"0\r\n\r\n")[0] == 400


@pytest.mark.parametrize("size", [1, 15, 16, 4096])
def test_the_decoded_body_is_bounded(size):
    chunk = b"%x\r\n%b\r\n" % (size, b"a" * size)
    many = 8192 // size
    assert decode(chunk * many + b"0\r\n\r\n", limit=many * size)[0] == b"a" * many * size
    assert refused(decode, chunk * (many + 1), None, many * size)[0] == 413


def test_a_chunk_beyond_the_limit_is_refused_before_it_comes():
    assert refused(decode, b"FFFFFFFFFFFFFFF\r\n")[0] == 413
    chunked = ChunkedBody(100)
    assert not chunked.take(bytearray(b"64\r\nabc"))
    assert len(chunked.body) == 3


def test_a_body_in_tiny_chunks_takes_little_memory():
    """Of 200,000 chunks, as many objects took twenty times the body."""
    wire = b"2\r\nab\r\n" * 200000 + b"0\r\n\r\n"
    chunked = ChunkedBody(1 << 20)
    buffer = bytearray()
    is_complete = False
    tracemalloc.start()
    try:
        for at in range(0, len(wire), 1 << 16):
            buffer += wire[at : at + (1 << 16)]
            is_complete = chunked.take(buffer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert is_complete
    assert bytes(chunked.body) == b"ab" * 200000
    assert peak < 2 * 400000


# --- trailers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trailers",
    [
        b"\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\n",
        b"\r\r\n\r\n",
        b" \r\n\r\n",
        b"X-A\r\n\r\n",
        b"X-A\r\nX-B: c\r\n\r\n",
        b"X-A : b\r\n\r\n",
        b"X-A: b\r\n c\r\n\r\n",
        b": b\r\n\r\n",
        b"X-A: b\n\r\n\r\n",
        b"X-A: b\n\r\n",
        b"X-A: b\n\n",
        b"X-A: b\rX-B: c\r\n\r\n",
        b"X-A: \x00\r\n\r\n",
        b"Content-Length: 5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Host: x\r\n\r\n",
        b"AUTHORIZATION: Bearer x\r\n\r\n",
        b"Content-Type: text/csv\r\n\r\n",
        b"Content-Encoding: gzip\r\n\r\n",
        b"Connection: close\r\n\r\n",
        b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_trailers_that_are_refused(trailers):
    wire = b"1\r\na\r\n0\r\n" + trailers
    assert refused(decode, wire)[0] == 400
    assert refused(decode, wire, [wire[at : at + 1] for at in range(len(wire))])[0] == 400


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_trailers_are_bounded_whether_complete_or_not(end):
    def trailers(size):
        return b"0\r\nX-A: %b\r\n" % (b"a" * (size - 5)) + end

    most = http1.MAX_TRAILERS
    if end:
        assert decode(trailers(most)) == (b"", b"")
    assert refused(decode, trailers(most + 1))[0] == 431
    many = b"0\r\n" + b"X-A: b\r\n" * (http1.MAX_HEADERS + 1) + end
    assert refused(decode, many)[0] == 431


def test_an_endless_trailer_is_refused_after_the_bound():
    chunked = ChunkedBody(100)
    buffer = bytearray(b"0\r\nX-A: ")

    def send():
        for _ in range(100):
            buffer.extend(b"a" * 1000)
            chunked.take(buffer)

    assert refused(send)[0] == 431
    assert len(buffer) < http1.MAX_TRAILERS + 2000
