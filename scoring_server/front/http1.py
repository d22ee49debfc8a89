"""HTTP/1.1 requests as bytes: a strict parser of heads, a decoder of chunked bodies.

Whatever two readers of one connection could understand differently (RFC 9112, sections 3, 5 to 7:
bare line feeds, folded or spaced header names, two lengths, a length beside chunked coding, two
hosts, a chunk's size with anything around it) is refused, so that no request can hide behind
another on its way through a proxy.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Tuple

MAX_HEAD = 32 * 1024
MAX_HEADERS = 100
MAX_TRAILERS = 8 * 1024
HEAD_END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Registered methods are upper-case, and WSGI's readers turn "post" into one. Of the visible
# characters that a target may not have, those are refused that readers cut, turn or quote.
_REQUEST_LINE = re.compile(rb"([A-Z][A-Z0-9_\-]{0,31}) ([!$-;=?-\[\]-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t -~\x80-\xff]*)")
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~%-]*)(?::[0-9]{0,5})?")
_ABSOLUTE_FORM = re.compile(r"(?:http|https)://([^/?]+)(/[^?]*)?(\?.*)?", re.IGNORECASE)
# Of two of these, one reader takes the first, another the last.
_ONCE = frozenset(
    ("authorization", "content-length", "content-type", "host", "transfer-encoding")
)  # fmt: skip
# RFC 9110, 6.5.1: fields that must be known before the body is read, or that concern who forwards.
_NOT_IN_TRAILERS = _ONCE | frozenset(
    (
        "cache-control", "connection", "content-encoding", "content-range", "cookie", "expect",
        "keep-alive", "max-forwards", "pragma", "range", "te", "trailer", "upgrade",
    )
)  # fmt: skip
# Fields that client after client sends alike, and that are no secrets: some are kept as they are.
_REPEATED = frozenset(
    (
        "accept", "accept-encoding", "accept-language", "connection", "content-length",
        "content-type", "host", "user-agent",
    )
)  # fmt: skip
_MAX_KNOWN_FIELD, _MAX_KNOWN_FIELDS = 256, 512
_known_fields: Dict[bytes, Tuple[str, str]] = {}

_MAX_CHUNK_LINE = 1024
_MAX_EXTENSIONS = 16 * 1024
_CHUNK_SIZE = (
    rb"([0-9A-Fa-f]{1,15})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[\t !#-\[\]-~]*"))?)*)\r\n'
)
_FIRST_CHUNK = re.compile(_CHUNK_SIZE)
_NEXT_CHUNK = re.compile(rb"\r\n" + _CHUNK_SIZE)
# A client that writes each token of its JSON sends millions of chunks of a few bytes: the regular
# expression engine takes these apart. The last group is anything else.
_SMALL_CHUNKS = re.compile(
    rb"\r\n(?:"
    + b"|".join(b"[%x%X]\r\n(%b)" % (size, size, b"." * size) for size in range(1, 16))
    + rb")|(.)",
    re.DOTALL,
)
_NOT_SMALL = _SMALL_CHUNKS.groups


class HttpError(Exception):
    """A request that is answered with `status` and after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """A request's head; `length` is the body's in bytes, None for a chunked one.

    :param target: as the request line has it.
    :param version: "1.0" or "1.1".
    `packed` is for who has made something of it for a process, and gets the same head again.

    :param headers: by lower-case name; values that came several times are joined by commas.
    :raises HttpError: they contradict each other, or are not for this server.
    """

    __slots__ = ("headers", "keep_alive", "length", "method", "packed", "path", "query", "version")

    def __init__(self, method: str, target: str, version: str, headers: Dict[str, str]) -> None:
        self.method = method
        self.path, _, self.query = _origin_form(method, target, headers).partition("?")
        self.version = version
        self.headers = headers
        self.packed: Optional[bytes] = None
        self.length = _body_length(version, headers)
        options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
        self.keep_alive = "close" not in options and (version == "1.1" or "keep-alive" in options)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send its body."""
        return self.version == "1.1" and self.headers.get("expect", "").lower() == "100-continue"


def parse_head(data: bytes) -> Head:
    """Parse a head.

    :param data: the head without the empty line that ends it.
    :raises HttpError: it is malformed, or could be understood in two ways.
    """
    lines = data.split(b"\r\n")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        raise HttpError(400, "The request line is malformed.")
    method, target, minor = (part.decode("ascii") for part in first.groups())
    headers = _parse_fields(lines[1:])
    host = headers.get("host")
    if host is None:
        if minor == "1":
            raise HttpError(400, "The header field host is missing.")
    elif not _HOST.fullmatch(host):
        raise HttpError(400, "The header field host is malformed.")
    return Head(method, target, "1." + minor, headers)


def _parse_fields(lines: List[bytes]) -> Dict[str, str]:
    """The header or trailer fields of lines, by lower-case name."""
    if len(lines) > MAX_HEADERS:
        raise HttpError(431, "There are more than {} header fields.".format(MAX_HEADERS))
    fields: Dict[str, str] = {}
    for line in lines:
        name, value = _known_fields.get(line) or _parse_field(line)
        # X_Y and X-Y become one in WSGI: the first could forge the second behind a proxy.
        if "_" in name:
            continue
        if name in fields:
            if name in _ONCE:
                raise HttpError(400, "The header field {} came twice.".format(name))
            value = fields[name] + ", " + value
        fields[name] = value
    return fields


def _parse_field(line: bytes) -> Tuple[str, str]:
    """The lower-case name and the value of a line; it is kept where others will send the same."""
    field = _FIELD.fullmatch(line)
    if field is None:
        raise HttpError(400, "A header field is malformed.")
    name = field.group(1).decode("ascii").lower()
    parsed = name, field.group(2).strip(b" \t").decode("latin-1")
    if name in _REPEATED and len(line) <= _MAX_KNOWN_FIELD:
        if len(_known_fields) >= _MAX_KNOWN_FIELDS:
            _known_fields.clear()
        _known_fields[line] = parsed
    return parsed


def _origin_form(method: str, target: str, headers: Dict[str, str]) -> str:
    """The path and query of a target, which a proxy may have sent as a whole URL."""
    # Tunnels and the preface of HTTP/2: what follows their heads is no HTTP/1.1.
    if method in ("CONNECT", "PRI"):
        raise HttpError(400, "The method {} is not for this server.".format(method))
    if target.startswith("/"):
        return target
    if target == "*" and method == "OPTIONS":
        return target
    url = _ABSOLUTE_FORM.fullmatch(target)
    if url is None or not _HOST.fullmatch(url.group(1)):
        raise HttpError(400, "The request target is malformed.")
    host, path, query = url.groups()
    if host.lower() != headers.get("host", host).lower():
        raise HttpError(400, "The request target and the header field host name two hosts.")
    return (path or "/") + (query or "")


def _body_length(version: str, headers: Dict[str, str]) -> Optional[int]:
    coding = headers.get("transfer-encoding")
    declared = headers.get("content-length")
    if coding is not None:
        if declared is not None or version != "1.1":
            message = "Transfer-encoding may come neither beside content-length nor in HTTP/1.0."
            raise HttpError(400, message)
        if coding.lower() != "chunked":
            raise HttpError(501, "Only the transfer coding chunked is known here.")
        return None
    if declared is None:
        return 0
    # str.isdigit() alone takes other scripts' digits too.
    if not (declared.isascii() and declared.isdigit()) or len(declared) > 18:
        raise HttpError(400, "The header field content-length is not a number.")
    return int(declared)


class ChunkedBody:
    """Decodes a chunked body into `body` as it comes, in time and memory linear in its bytes.

    :param limit: most bytes that the decoded body may have.
    """

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self._limit = limit
        self._left = 0  # bytes of the present chunk still to come
        self._extensions = 0
        self._size_line = _FIRST_CHUNK
        self._is_in_trailers = False

    def take(self, buffer: bytearray) -> bool:
        """Take what can be decoded from the front of `buffer`.

        Trailers are checked as header fields are, and dropped.

        :returns: whether the body is complete.
        :raises HttpError: the body is malformed or beyond the limit.
        """
        used = 0
        while not self._is_in_trailers:
            if self._left:
                part = buffer[used : used + self._left]
                self.body += part
                used += len(part)
                self._left -= len(part)
                if self._left:
                    break
                self._size_line = _NEXT_CHUNK
            # A size of one digit: not worth the try before a large chunk.
            if buffer[used + 3 : used + 4] == b"\r" and self._size_line is _NEXT_CHUNK:
                used = self._take_small(buffer, used)
            line = self._size_line.match(buffer, used)
            if line is None:
                self._check_unfinished_line(buffer, used)
                break
            self._begin(*line.groups())
            used = line.end()
        del buffer[:used]
        return self._is_in_trailers and _take_trailers(buffer)

    def _take_small(self, buffer: bytearray, used: int) -> int:
        """Take the small chunks from `used` on; where they end."""
        body = self.body
        end = len(buffer)
        for chunk in _SMALL_CHUNKS.finditer(buffer, used):
            group = chunk.lastindex
            if group == _NOT_SMALL:
                end = chunk.start()
                break
            body += chunk[group]  # type: ignore[index]  # one group always takes part
        self._check_size(len(body))
        return end

    def _begin(self, size: bytes, extensions: bytes) -> None:
        self._left = int(size, 16)
        self._is_in_trailers = self._left == 0
        self._extensions += len(extensions)
        if self._extensions > _MAX_EXTENSIONS:
            raise HttpError(400, "The chunk extensions are too long.")
        self._check_size(len(self.body) + self._left)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise HttpError(413, "The body is larger than {} bytes.".format(self._limit))

    def _check_unfinished_line(self, buffer: bytearray, used: int) -> None:
        """Refuse what more bytes cannot make a chunk's size line."""
        if self._size_line is _NEXT_CHUNK:
            if not b"\r\n".startswith(buffer[used : used + 2]):
                raise HttpError(400, "A chunk is longer than it says.")
            used += 2
        if buffer.find(b"\n", used) >= 0 or len(buffer) - used > _MAX_CHUNK_LINE:
            raise HttpError(400, "A chunk's size line is malformed or too long.")


def _take_trailers(buffer: bytearray) -> bool:
    """Take trailers and the empty line after them; False while there is more to come."""
    if buffer.startswith(b"\r\n"):
        del buffer[:2]
        return True
    end = buffer.find(HEAD_END)
    trailers = bytes(buffer if end < 0 else buffer[:end])
    if len(trailers) > MAX_TRAILERS:
        raise HttpError(431, "The trailers are larger than {} bytes.".format(MAX_TRAILERS))
    lines = trailers.split(b"\r\n")
    # Without their end, the last line may not be whole.
    fields = _parse_fields(lines[:-1] if end < 0 else lines)
    forbidden = _NOT_IN_TRAILERS.intersection(fields)
    if forbidden:
        raise HttpError(400, "A trailer may not be named {}.".format(min(forbidden)))
    if end < 0:
        if b"\n" in lines[-1]:
            raise HttpError(400, "A trailer is malformed.")
        return False
    del buffer[: end + len(HEAD_END)]
    return True
