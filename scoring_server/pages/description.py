"""What the page is told: the model, its signature and example, and what the server answers."""

from __future__ import annotations

from typing import Any, Dict, Sequence

from ..config import ServerConfig, SignatureConfig
from ..protocols.openai.api import CHAT, RESPONSES, path_of
from ..protocols.own_routes import describe
from ..routes import WORKER, RouteGroup
from ..signature.examples import example_request


def describe_for_page(
    config: ServerConfig, groups: Sequence[RouteGroup], since: float
) -> Dict[str, Any]:
    """All that the page shows and builds its form from.

    :param since: when the server began, in seconds since 1970.
    """
    described = describe(config)
    model = config.model
    signature = model.signature or SignatureConfig()
    path = path_of(model)
    routes = [route for group in groups for route in group.routes]
    described["model"].update(
        name=model.served_names[0],
        version=model.version,
        aliases=list(model.aliases),
        flavor=model.flavor,
        logged=model.utc_time_created,
        signature=signature._asdict(),
        example=example_request(model),
        chat=path if path in (CHAT, RESPONSES) else None,
    )
    described["server"] = {
        "since": since,
        "workers": config.server.workers,
        "threads": config.server.threads,
        "max_batch_rows": config.server.max_batch_rows,
        "max_body": config.server.max_body,
        "prediction_paths": sorted({each.path for each in routes if each.answered_by == WORKER}),
    }
    return described
