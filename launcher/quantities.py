"""Ages and sizes for people; `scoring_server.container.sizes` reads sizes."""

from __future__ import annotations

import re

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


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
