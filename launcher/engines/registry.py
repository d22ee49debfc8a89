"""The engines by name."""

from __future__ import annotations

from launcher.engines.engine import Engine
from launcher.engines.mlserver.engine import MLServer
from launcher.engines.scoring_server import ScoringServer
from launcher.errors import UsageError

ENGINES: dict[str, Engine] = {each.name: each for each in (ScoringServer(), MLServer())}


def engine_named(name: str) -> Engine:
    """The engine of that name.

    :raises UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"--enable-{name} is not supported yet.", "Leave the flag out.")
    return ENGINES[name]
