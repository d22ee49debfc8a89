"""HTTP/1.1 requests as bytes: a strict parser of heads, a decoder of chunked bodies.

Whatever two readers of one connection could understand differently (RFC 9112, sections 3, 5 and
6: bare line feeds, folded or spaced header names, two lengths, a length beside chunked coding) is
refused, so that no request can hide behind another on its way through a proxy.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

MAX_HEAD = 32 * 1024
MAX_HEADERS = 100
HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_IN_HEAD = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_MAX_CHUNK_LINE = 1024


class HttpError(Exception):
    """A request that is answered with `status` and after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """A request's head.

    `headers` has lower-case names; values that came several times are joined by commas.
    `length` is the body's length in bytes, None for a chunked body.
    """

    __slots__ = ("headers", "keep_alive", "length", "method", "path", "query", "version")

    def __init__(self, method: str, target: str, version: str, headers: Dict[str, str]) -> None:
        self.method = method
        self.path, _, self.query = _origin_form(target).partition("?")
        self.version = version
        self.headers = headers
        self.length = _body_length(version, headers)
        connection = headers.get("connection", "").lower()
        self.keep_alive = (
            "close" not in connection if version == "1.1" else "keep-alive" in connection
        )

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send its body."""
        return self.version == "1.1" and self.headers.get("expect", "").lower() == "100-continue"


def parse_head(data: bytes) -> Head:
    """Parse a head, given without the empty line that ends it; raises `HttpError`."""
    lines = data.split(b"\r\n")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        raise HttpError(400, "the request line is malformed")
    if len(lines) > MAX_HEADERS + 1:
        raise HttpError(431, "more than {} header fields".format(MAX_HEADERS))
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _NAME.fullmatch(raw_name) or _NOT_IN_HEAD.search(raw_value):
            raise HttpError(400, "a header field is malformed")
        # X_Y and X-Y become one in WSGI: the first could forge the second behind a proxy.
        if b"_" in raw_name:
            continue
        name = raw_name.decode("ascii").lower()
        value = raw_value.strip(b" \t").decode("latin-1")
        if name in headers:
            if name in ("host", "content-length", "authorization"):
                raise HttpError(400, "the header field {} came twice".format(name))
            value = headers[name] + ", " + value
        headers[name] = value
    method, target, minor = first.groups()
    version = "1." + minor.decode("ascii")
    if version == "1.1" and "host" not in headers:
        raise HttpError(400, "the header field host is missing")
    return Head(method.decode("ascii"), target.decode("latin-1"), version, headers)


def _origin_form(target: str) -> str:
    """The path and query of a target, which a proxy may have sent as a whole URL."""
    if target.startswith("/"):
        return target
    if "://" in target:
        _, slash, rest = target.partition("://")[2].partition("/")
        return slash + rest if slash else "/"
    if target == "*":
        return target
    raise HttpError(400, "the request target is malformed")


def _body_length(version: str, headers: Dict[str, str]) -> Optional[int]:
    coding = headers.get("transfer-encoding")
    declared = headers.get("content-length")
    if coding is not None:
        if declared is not None or version != "1.1":
            raise HttpError(400, "transfer-encoding beside content-length, or in HTTP/1.0")
        if coding.lower() != "chunked":
            raise HttpError(501, "only chunked transfer coding is known here")
        return None
    if declared is None:
        return 0
    # str.isdigit() alone takes other scripts' digits too.
    if not (declared.isascii() and declared.isdigit()) or len(declared) > 18:
        raise HttpError(400, "content-length is not a number")
    return int(declared)


class ChunkedBody:
    """Decodes a chunked body as it comes.

    :param limit: most bytes that the decoded body may have.
    """

    def __init__(self, limit: int) -> None:
        self.parts: List[bytes] = []
        self.size = 0
        self._limit = limit
        self._left = 0  # bytes of the present chunk still to come
        self._after_data = False
        self._in_trailer = False

    def take(self, buffer: bytearray) -> bool:
        """Take what can be decoded from the front of `buffer`; True once the body is complete.

        Raises `HttpError` for a malformed body and for one beyond the limit.
        """
        while True:
            if self._left:
                part = bytes(buffer[: self._left])
                if not part:
                    return False
                del buffer[: len(part)]
                self.parts.append(part)
                self._left -= len(part)
                if self._left:
                    return False
                self._after_data = True
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > _MAX_CHUNK_LINE:
                    raise HttpError(400, "a chunk's size line is too long")
                return False
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self._in_trailer:
                if not line:
                    return True
            elif self._after_data:
                if line:
                    raise HttpError(400, "a chunk is longer than it says")
                self._after_data = False
            else:
                self._begin(line)

    def _begin(self, line: bytes) -> None:
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise HttpError(400, "a chunk's size is malformed")
        self._left = int(size.group(1), 16)
        self._in_trailer = self._left == 0
        self.size += self._left
        if self.size > self._limit:
            raise HttpError(413, "the body is larger than {} bytes".format(self._limit))
