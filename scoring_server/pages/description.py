"""What the page is told: the model, its signature and example, and what the server answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from ..config import FLAVOR, ModelConfig, ServerConfig, SignatureConfig
from ..protocols.own_routes import describe
from ..routes import WORKER, RouteGroup

# A larger example is no help in a form.
_LARGEST_EXAMPLE = 1 << 20
_ROWS = 5

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
        example=example_body(model),
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


def example_body(model: ModelConfig) -> Any:
    """The request for `/invocations` that the model's input example makes, its first rows.

    None where there is no example, or none that can be read: it is a convenience.
    """
    info = model.saved_input_example_info or {}
    try:
        serving = _read(model, info.get("serving_input_path"))
        if serving is not None:
            return _shortened(serving)
        example = _read(model, info.get("artifact_path"))
    except (OSError, ValueError, RecursionError):
        return None
    if example is None:
        return None
    kind = info.get("type")
    if kind == "dataframe":
        orient = info.get("pandas_orient", "split")
        return _shortened({"dataframe_" + str(orient): example})
    if kind == "ndarray":
        return _shortened(
            {"inputs": example.get("inputs", example) if isinstance(example, dict) else example}
        )
    return _shortened({"inputs": example}) if kind == "json_object" else None


def _read(model: ModelConfig, name: Any) -> Any:
    """A file of the model's folder as JSON; None where it has none of that name."""
    if not isinstance(name, str):
        return None
    folder = Path(model.path).resolve()
    path = (folder / name).resolve()
    if folder not in path.parents or not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_EXAMPLE:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _shortened(body: Any) -> Any:
    """The same request with its first rows only."""
    if not isinstance(body, dict):
        return body
    short = dict(body)
    split = short.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        kept = {name: value for name, value in split.items() if name != "index"}
        short["dataframe_split"] = {**kept, "data": split["data"][:_ROWS]}
    for form in ("dataframe_records", "instances", "inputs"):
        if isinstance(short.get(form), list):
            short[form] = short[form][:_ROWS]
    return short
