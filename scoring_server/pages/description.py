"""What the page is told: the model, its signature and example, and what the server answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from ..config import FLAVOR, ModelConfig, ServerConfig, SignatureConfig
from ..protocols.own_routes import describe
from ..routes import WORKER, RouteGroup
from ..signature.examples import example_request

# How a model that chats is spoken to: OpenAI's chat completions, the same with MLflow's agents'
# answers, OpenAI's responses. The loaders are those of `mlflow.pyfunc.loaders`, the tasks those of
# a model's metadata.
CHAT, AGENT, RESPONSES = "chat", "agent", "responses"
_LOADERS = {"chat_model": CHAT, "chat_agent": AGENT, "responses_agent": RESPONSES}
_TASKS = {"llm/v1/chat": CHAT, "agent/v1/chat": AGENT, "agent/v1/responses": RESPONSES}


def describe_for_page(
    config: ServerConfig, groups: Sequence[RouteGroup], since: float
) -> Dict[str, Any]:
    """All that the page shows and builds its form from.

    :param since: when the server began, in seconds since 1970.
    """
    described = describe(config)
    model = config.model
    signature = model.signature or SignatureConfig()
    routes = [route for group in groups for route in group.routes]
    described["model"].update(
        name=(model.names[0] if model.names else None) or model.name or Path(model.path).name,
        version=model.version,
        aliases=list(model.aliases),
        flavor=model.flavor,
        loader=_short_loader(model),
        logged=model.utc_time_created,
        signature=signature._asdict(),
        example=example_request(model),
        chat=chat_kind(model),
    )
    described["server"] = {
        "since": since,
        "workers": config.server.workers,
        "threads": config.server.threads,
        "max_batch_rows": config.server.max_batch_rows,
        "max_body": config.server.max_body,
        "paths": sorted({route.path for route in routes}),
        "prediction_paths": sorted({each.path for each in routes if each.answered_by == WORKER}),
    }
    return described


def _short_loader(model: ModelConfig) -> Optional[str]:
    loader = (model.flavors.get(FLAVOR) or {}).get("loader_module")
    return None if loader is None else str(loader).rpartition(".")[2]


def chat_kind(model: ModelConfig) -> Optional[str]:
    """CHAT, AGENT or RESPONSES; None for a model that does not chat."""
    task = (model.metadata or {}).get("task")
    by_task = _TASKS.get(task) if isinstance(task, str) else None
    return by_task or _LOADERS.get(_short_loader(model) or "")
