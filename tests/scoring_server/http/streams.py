"""Streams of pipelined HTTP/1.1 requests: well-formed, doubtful and damaged ones.

Everything is drawn from the `random.Random` that is given, so that a seed gives one corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

METHODS = [b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"]
ODD_METHODS = [b"get", b"FOO", b"CONNECT", b"G T", b"", b"PRI", b"A" * 33, b"GE\tT", b"M-SEARCH"]
TARGETS = [b"/", b"/ping", b"/a?b=c&d=%20", b"/a%2fb", b"http://x/ping", b"http://x", b"http://x?a"]
ODD_TARGETS = [
    b"foo?u=http://bar/ping", b"http://y/ping", b"ftp://x/ping", b"x:80", b"*", b"/a b", b"/\xc3\xa9",
    b"/#ping", b'/"', b"/\\ping", b"", b"//x/ping", b"/a\tb", b"http:///ping", b"http://a@x/",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0"]
ODD_VERSIONS = [b"http/1.1", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"", b"HTTP/1.10"]
SPACES = [b"  ", b"\t", b" \t", b"\x0b", b"\xa0", b""]
FIELDS = [
    b"X-A: b", b"x-a:c", b"X-B:\t d \t", b"Accept: */*", b"X-Empty:", b"X-O: \xe9\xff", b"X_Y: z",
    b"Connection: keep-alive", b"Content-Type: application/json", b"Connection: x", b"TE: trailers",
    b"Expect: 100-continue", b"Cookie: a=b; c", b"!#$%&'*+-.^`|~: a",
]  # fmt: skip
ODD_FIELDS = [
    b"X-A : b", b" X-A: b", b"X-A: b\r\n c", b"X-A", b": b", b"X\x00: b", b"X-A: \x00", b"X-A: a\rb",
    b"X-A: a\nX-B: c", b"Host: y", b"Host: a b", b"Content-Length: 5", b"Content-Length: +5",
    b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length:", b"Content_Length: 7",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: xchunked",
    b"Connection: close", b"Connection: enclosed", b"Upgrade: websocket\r\nConnection: upgrade",
    b"Content-Length: 05", b"X-A: \x7f", b"X-A: \x01", b"\tX: y", b"Transfer_Encoding: chunked",
]  # fmt: skip
SIZES = [b"%x", b"%x", b"%x", b"%X", b"0%x", b"000%x"]
ODD_SIZES = [
    b"%x ", b" %x", b"%x\t", b"+%x", b"-%x", b"0x%x", b"%x;", b"%x;a=", b"%x; a", b"%x ;a", b"", b"%xg",
    b"%x\n", b"%x\r", b"%x;a\nb", b"0000000000000000000%x", b'%x;a="\\""', b"%x_0", b"%x;\x80", b"%x,1",
]  # fmt: skip
EXTENSIONS = [b"", b"", b"", b"", b";a", b";a=b", b';a="b c";d', b";a;b=1"]
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n ", b"", b"\n\n", b" \r\n"]
TRAILERS = [b"X-A: b", b"X-Checksum:\t1", b"x-e:"]
ODD_TRAILERS = [
    *(b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: y", b"X-A : b", b"X-A", b": b"),
    *(
        b" X: y",
        b"X-A: b\r\n c",
        b"X-A: \x00",
        b"X-A: a\nb",
        b"GET /2 HTTP/1.1",
        b"Connection: close",
    ),
]
NASTY = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\x00",
    b":",
    b";",
    b"0",
    b"5",
    b"\x80",
    b",",
    b"\x0b",
]


class _Stream:
    """Draws the parts of a stream; about one in `rarity` is an odd one."""

    def __init__(self, random: Random, rarity: int) -> None:
        self.random = random
        self.rarity = rarity

    def part(self, usual: list[bytes], odd: list[bytes]) -> bytes:
        is_odd = self.random.randrange(self.rarity) == 0
        return self.random.choice(odd if is_odd else usual)

    def end(self) -> bytes:
        # There are many of them in a request.
        return self.part([b"\r\n"], LINE_ENDS if self.random.randrange(4) == 0 else [b"\r\n"])

    def request(self) -> bytes:
        random = self.random
        method = self.part(METHODS, ODD_METHODS)
        target = self.part(TARGETS, ODD_TARGETS)
        space = self.part([b" "], SPACES)
        line = space.join([method, target, self.part(VERSIONS, ODD_VERSIONS)])
        fields = [random.choice(FIELDS) for _ in range(random.randrange(4))]
        if random.randrange(30):
            fields.insert(random.randrange(len(fields) + 1), b"Host: x")
        body = b""
        kind = random.randrange(4)
        if kind < 2 and method not in (b"GET", b"HEAD"):
            body = self.chunked()
            fields.append(self.part([b"Transfer-Encoding: chunked"], ODD_FIELDS))
        elif kind == 2:
            body = self.data(20)
            fields.append(self.part([b"Content-Length: %d" % len(body)], ODD_FIELDS))
        if random.randrange(self.rarity) == 0:
            fields.insert(random.randrange(len(fields) + 1), random.choice(ODD_FIELDS))
        return b"".join(each + self.end() for each in [line, *fields, b""]) + body

    def data(self, most: int) -> bytes:
        return bytes(
            self.random.choice(b"abc\r\n05;: ") for _ in range(self.random.randrange(most))
        )

    def chunked(self) -> bytes:
        random = self.random
        wire = b""
        for _ in range(random.randrange(4)):
            data = self.data(20) or b"a"
            size = self.part(SIZES, ODD_SIZES)
            size = size % len(data) if size else size
            wire += size + random.choice(EXTENSIONS) + self.end() + data + self.end()
        trailers = b"".join(
            self.part(TRAILERS, ODD_TRAILERS) + self.end()
            for _ in range(random.choice((0, 0, 1, 2)))
        )
        return wire + self.part([b"0", b"0", b"000", b"0;a=b"], [b"0 ", b"", b"0\n", b"00x"]) + (
            self.end() + trailers + self.end()
        )  # fmt: skip

    def damaged(self, stream: bytes) -> bytes:
        """Some bytes taken out, put in, changed or doubled."""
        random = self.random
        at = random.randrange(len(stream) + 1)
        kind = random.randrange(4)
        if kind == 0:
            return stream[:at] + random.choice(NASTY) + stream[at:]
        if kind == 1:
            return stream[:at] + random.choice(NASTY) + stream[at + 1 :]
        if kind == 2:
            return stream[:at] + stream[at + 1 :]
        return stream[: at + 8] + stream[at:]


def stream(random: Random) -> bytes:
    """One to three requests, one after the other."""
    parts = _Stream(random, random.choice((4, 12, 40)))
    wire = b""
    for _ in range(random.choice((1, 1, 2, 3))):
        wire += random.choice((b"",) * 12 + (b"\r\n", b"\r\n\r\n", b"\n")) + parts.request()
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        wire = parts.damaged(wire)
    return wire


def corpus(count: int, seed: int = 1) -> Iterator[bytes]:
    """As many streams, the same each time."""
    random = Random(seed)
    for _ in range(count):
        yield stream(random)
