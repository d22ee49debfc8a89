"""The OpenAPI 3.1 description of a server: what its groups of routes say, and what all have.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Sequence

from ..config import FLAVOR, ServerConfig
from ..routes import FRONT, JSON_TYPE, WORKER, Description, Route, RouteGroup
from ..version import __version__

_PARAMETER = re.compile(r"<(\w+)>")
_ERRORS = {
    400: "The request is malformed, does not fit the model's signature, or the model refused it.",
    401: "The bearer token is missing or another one.",
    404: "No model or no version of that name is served.",
    408: "The request came too slowly.",
    413: "The body is larger than the server takes, or decodes to too much.",
    415: "The body's type is not read here.",
    431: "The request's head is too large.",
    500: "The request could not be answered.",
    501: "The transfer coding is not known here.",
    503: "Too many requests wait; try again later.",
    504: "The answer took longer than it may.",
}
_REQUEST_ID = {
    "description": "What the request was called in `X-Request-Id`, or a name made for it: the logs"
    " have it.",
    "schema": {"type": "string"},
}
_MORE_HEADERS: Dict[int, Dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}},
    503: {
        "Retry-After": {
            "description": "Seconds after which it may be worth trying again.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def openapi(config: ServerConfig, groups: Sequence[RouteGroup]) -> Dict[str, Any]:
    """The document.

    :raises ValueError: two groups mean different things by the same name.
    """
    paths: Dict[str, Dict[str, Any]] = {}
    schemas: Dict[str, Any] = {"Error": _error(config)}
    responses: Dict[str, Any] = {}
    for group in groups:
        description = group.describe()
        for name, schema in description.schemas.items():
            if schemas.setdefault(name, schema) != schema:
                raise ValueError("Two schemas are called {}.".format(name))
        for route in group.routes:
            for method in route.methods:
                operation = description.operations.get("{} {}".format(method, route.path))
                if operation is None:
                    continue
                statuses = _statuses(config, route)
                for status in statuses:
                    responses[_name(group, status)] = _error_response(status, description)
                path = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
                path[method.lower()] = _operation(group, route, method, operation, statuses)
    components: Dict[str, Any] = {
        "schemas": schemas,
        "responses": responses,
        "headers": {"X-Request-Id": _REQUEST_ID},
    }
    document = {
        "openapi": "3.1.0",
        "info": _info(config),
        # Relative to this document's own address.
        "servers": [{"url": "."}],
        "paths": paths,
        "components": components,
    }
    if config.server.token_file is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _info(config: ServerConfig) -> Dict[str, Any]:
    model = config.model
    flavors = [name for name in model.flavors if name != FLAVOR] or [model.flavor]
    lines = ["An MLflow Model ({}).".format(", ".join(flavors))]
    lines += [
        "{}: {}".format(name, value)
        for name, value in (
            ("Logged by MLflow", model.mlflow_version),
            ("Logged at", model.utc_time_created),
            ("Model id", model.model_id or model.uuid),
            ("Run", model.run_id),
        )
        if value
    ]
    lines.append("Served by mlmodel-launcher {}.".format(__version__))
    lines.append(
        "A path that is not here is 404, a method that its path has not is 405 with `Allow`; every"
        " GET can be a HEAD."
    )
    return {
        "title": (list(model.names) or [model.name or "MLflow Model"])[0],
        "version": str(model.version or model.model_id or model.uuid or "unknown"),
        "description": "\n\n".join(lines),
    }


def _error(config: ServerConfig) -> Dict[str, Any]:
    properties: Dict[str, Any] = {
        "error_code": {"type": "string", "description": "One of MLflow's names."},
        "message": {"type": "string"},
    }
    if config.server.debug:
        properties["stack_trace"] = {"type": "string"}
    return {
        "type": "object",
        "properties": properties,
        "required": ["error_code", "message"],
    }


def _statuses(config: ServerConfig, route: Route) -> List[int]:
    """The statuses of the errors that a route may be answered with."""
    statuses = {400, 408, 413, 431, 501, 503}
    if config.server.token_file is not None and not route.is_open:
        statuses.add(401)
    if _PARAMETER.search(route.path):
        statuses.add(404)
    if route.answered_by != FRONT:
        statuses |= {500, 504}
    if route.answered_by == WORKER:
        statuses.add(415)
    return sorted(statuses)


def _name(group: RouteGroup, status: int) -> str:
    return "{}_{}".format(group.name, status)


def _error_response(status: int, description: Description) -> Dict[str, Any]:
    return {
        "description": _ERRORS[status],
        "headers": _headers(_MORE_HEADERS.get(status)),
        "content": {JSON_TYPE: {"schema": description.error}},
    }


def _headers(more: Any) -> Dict[str, Any]:
    return {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}, **(more or {})}


def _operation(
    group: RouteGroup, route: Route, method: str, own: Dict[str, Any], statuses: Sequence[int]
) -> Dict[str, Any]:
    operation = {
        "operationId": method.lower() + re.sub(r"\W+", "_", route.path),
        "tags": [group.name],
        **own,
    }
    described = {(each["name"], each["in"]) for each in own.get("parameters", ())}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
        if (name, "path") not in described
    ]
    parameters += own.get("parameters", ())
    if parameters:
        operation["parameters"] = parameters
    responses = {
        status: {**response, "headers": _headers(response.get("headers"))}
        for status, response in own["responses"].items()
    }
    for status in statuses:
        common = {"$ref": "#/components/responses/" + _name(group, status)}
        responses.setdefault(str(status), common)
    operation["responses"] = responses
    if route.is_open:
        operation["security"] = []
    return operation
