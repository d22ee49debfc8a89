"""Sizes and ages as people write them."""

from __future__ import annotations

import re

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str) -> int:
    """Bytes for ``500MB``, ``2GiB``, ``1.5g`` or a plain number.

    :raises ValueError: ``text`` is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if not match or (match.group(3) and not match.group(2)):
        raise ValueError(f"{text!r} is no size: write 500MB, 2GB or 1GiB.")
    units = _BINARY if match.group(3) else _SIZES
    return int(float(match.group(1)) * units[match.group(2).lower()])


def parse_age(text: str) -> float:
    """Seconds for ``30d``, ``12h``, ``45m``, ``10s`` or ``2w``.

    :raises ValueError: ``text`` is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is no age: write 30d, 12h or 45m.")
    return float(match.group(1)) * _AGES[match.group(2).lower()]


def format_size(size: float) -> str:
    """``size`` (bytes) for people, in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
