"""Which pages of other origins may use the server: https://fetch.spec.whatwg.org/#http-cors-protocol.

Pages of an origin that is named may do so with the credentials that browsers add by themselves
(the cookies of a proxy before this server); with `*` all pages may, without them.
"""

from __future__ import annotations

import re
from typing import Dict, Optional, Sequence

from ..config import ConfigError
from ..errors import BAD_REQUEST, ScoringError
from ..route_table import Match
from ..routes import Answer, Headers
from .address import ANY_ORIGIN, origin_of

# What of an answer a page may see, beside what every page may.
_EXPOSED = "X-Request-Id, Retry-After, WWW-Authenticate, Allow, Accept-Encoding, " \
    "Inference-Header-Content-Length"  # fmt: skip
# Seconds for which a browser need not ask again.
_MAX_AGE = "600"
_METHOD, _HEADERS = "access-control-request-method", "access-control-request-headers"
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


class CrossOrigin:
    """The fields that browsers look for in answers, and the answers to what they ask before.

    :param origins: whose pages may use the server.
    :raises ConfigError: one of them is none, or `*` is beside others.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        try:
            self._origins = frozenset(map(origin_of, origins))
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._takes_all = ANY_ORIGIN in self._origins
        if self._takes_all and len(self._origins) > 1:
            raise ConfigError("The origin * stands for all: give it alone.")

    def headers(self, origin: Optional[str]) -> Headers:
        """What an answer has for a page.

        :param origin: the request's `Origin`; None where it has none.
        """
        if self._takes_all:
            return [("Access-Control-Allow-Origin", ANY_ORIGIN), _EXPOSE]
        # Also where it is not allowed: what lies in a cache would be given to others.
        if origin not in self._origins:
            return [_VARY]
        return [
            ("Access-Control-Allow-Origin", str(origin)),
            ("Access-Control-Allow-Credentials", "true"),
            _EXPOSE,
            _VARY,
        ]

    def preflight(self, match: Match, method: str, headers: Dict[str, str]) -> Optional[Answer]:
        """The answer where a browser asks what it may send, beside `headers`; it sends no token.

        :param match: what the routes have for the request.
        :param headers: the request's, by lower-case name.
        :returns: None where it is another request.
        """
        has_body = (headers.get("content-length") or "0") != "0" or "transfer-encoding" in headers
        if method != "OPTIONS" or has_body or not match.allowed:
            return None
        if _METHOD not in headers or "origin" not in headers:
            return None
        if not self._takes_all and headers["origin"] not in self._origins:
            message = "Pages of this origin may not use the server; allow it with --cors-origin."
            return match.group.error(ScoringError(message, BAD_REQUEST, 403))
        allowed = [
            ("Access-Control-Allow-Methods", ", ".join(match.allowed)),
            ("Access-Control-Max-Age", _MAX_AGE),
            ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        asked = headers.get(_HEADERS, "")
        # Every name that it asks for: `*` would not stand for Authorization.
        if _NAMES.fullmatch(asked):
            allowed.append(("Access-Control-Allow-Headers", asked))
        return Answer(204, allowed, b"")


_EXPOSE = ("Access-Control-Expose-Headers", _EXPOSED)
_VARY = ("Vary", "Origin")
