"""Packages that only some need: the extras of this distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

_DISTRIBUTION = "mlmodel-launcher"


def how_to_install(extra: str) -> str:
    """Return the command that brings what an extra stands for.

    It names the packages: that works in an installation from a clone as well, of which no index
    knows.
    """
    # Here: only who lacks something pays for the import.
    from packaging.requirements import Requirement

    try:
        lines = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:  # run from its folder
        lines = []
    named = []
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is not None and f'extra == "{extra}"' in str(wanted.marker):
            named.append(f"'{wanted.name}{wanted.specifier}'")
    return "pip install " + (" ".join(named) or f"'{_DISTRIBUTION}[{extra}]'")
