"""Origins and root paths as people write them, checked and in the one form that is compared."""

from __future__ import annotations

import re

ANY_ORIGIN = "*"
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# What a path may have that needs no percent-encoding (RFC 3986, pchar).
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")


def origin_of(text: str) -> str:
    """An origin as browsers send it (RFC 6454), or `*` for all.

    :raises ValueError: it is none.
    """
    if text == ANY_ORIGIN:
        return text
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        raise ValueError(
            "{!r} is no origin: give one such as https://example.org, or *.".format(text)
        )
    scheme, host, port = found.groups()
    origin = "{}://{}".format(scheme, host)
    return origin if port in (None, _DEFAULT_PORTS.get(scheme)) else origin + ":" + port


def root_path_of(text: str) -> str:
    """A root path without a slash at its end; "" where there is none.

    :raises ValueError: it is none.
    """
    path = text.rstrip("/")
    if path and (_ROOT_PATH.fullmatch(path) is None or {".", ".."}.intersection(path.split("/"))):
        raise ValueError("{!r} is no root path: give one such as /models/iris.".format(text))
    return path
