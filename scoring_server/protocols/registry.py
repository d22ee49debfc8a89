"""The routes that a server has: a new protocol or page gets a line here."""

from __future__ import annotations

from typing import List

from ..config import CRATE, ServerConfig
from ..routes import RouteGroup
from .mlflow import MlflowProtocol
from .open_inference.protocol import OpenInferenceProtocol
from .openai.protocol import OpenAIProtocol
from .own_routes import OwnRoutes


def route_groups(config: ServerConfig) -> List[RouteGroup]:
    """The groups of routes for a model; the first reports the errors of paths that none has."""
    scoring: RouteGroup = MlflowProtocol(config)
    if config.model.flavor == CRATE:
        from .crate import CrateProtocol

        scoring = CrateProtocol(config)
    groups: List[RouteGroup] = [
        OwnRoutes(config),
        scoring,
        OpenInferenceProtocol(config),
        OpenAIProtocol(config),
    ]
    if config.server.page:
        from ..pages.page_routes import PageRoutes

        groups.append(PageRoutes(config))
    return groups
