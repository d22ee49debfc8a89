"""Sizes as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_size(text: str) -> int:
    """Bytes for `500MB`, `2GiB`, `1.5g` or a plain number.

    :raises ValueError: `text` is none of these.
    """
    match = re.match(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*$", text, re.IGNORECASE)
    if not match or (match.group(3) and not match.group(2)):
        raise ValueError("{!r} is no size: write 500MB, 2GB or 1GiB.".format(text))
    units = _BINARY if match.group(3) else _UNITS
    return int(float(match.group(1)) * units[match.group(2).lower()])
