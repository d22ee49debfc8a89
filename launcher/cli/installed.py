"""Whether the packages beside this one are our own: checked before any is imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

# A package, and a module that ours of that name has.
_OURS = {"envs": "preparing.py", "scoring_server": "events.py"}


def require_own_packages() -> None:
    """See that no other distribution's package stands in the place of one of ours.

    :raises click.ClickException: one does, as that of the distribution ``envs`` on PyPI would.
    """
    for name, module in _OURS.items():
        spec = find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        if not any(Path(place, module).is_file() for place in places):
            found = (spec.origin if spec is not None else None) or "nowhere"
            raise click.ClickException(
                f"Another package named {name!r} is in the place of the launcher's ({found}): "
                "install the launcher into an environment of its own, with pipx or uv tool install."
            )
