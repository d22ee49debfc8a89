"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable

from launcher.engines.engine import Engine
from launcher.engines.scoring_server import ScoringServer
from launcher.errors import UsageError


def _mlserver() -> Engine:
    from launcher.engines.mlserver.engine import MLServer  # here: most starts are of our own server

    return MLServer()


ENGINES: dict[str, Callable[[], Engine]] = {
    ScoringServer.name: ScoringServer,
    "mlserver": _mlserver,
}


def engine_named(name: str) -> Engine:
    """The engine of that name.

    :raises UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name}.", f"There are: {', '.join(ENGINES)}.")
    return ENGINES[name]()
