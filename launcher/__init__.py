"""Serve MLflow Models in the environment they were logged with, supervised."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.api.jobs import PreparedEnvironment, predict, prepare_env
    from launcher.api.serving import Server, aserve, serve
    from launcher.commands.calling import RefusedError
    from launcher.errors import (
        EnvironmentBuildError,
        LauncherError,
        ModelError,
        ServerCrashedError,
        ServerNotReadyError,
        UsageError,
    )

__all__ = [
    "EnvironmentBuildError",
    "LauncherError",
    "ModelError",
    "PreparedEnvironment",
    "RefusedError",
    "Server",
    "ServerCrashedError",
    "ServerNotReadyError",
    "UsageError",
    "aserve",
    "predict",
    "prepare_env",
    "serve",
]

# By name, and imported when asked for: the command line runs through here, and needs none of it.
_PLACES = {
    "launcher.api.jobs": ("PreparedEnvironment", "predict", "prepare_env"),
    "launcher.api.serving": ("Server", "aserve", "serve"),
    "launcher.commands.calling": ("RefusedError",),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = next((each for each, names in _PLACES.items() if name in names), "launcher.errors")
    return getattr(importlib.import_module(place), name)


def __dir__() -> list[str]:
    return __all__
