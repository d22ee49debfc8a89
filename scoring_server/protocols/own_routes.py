"""The server's own routes: `/ping`, `/health`, `/metrics`, `/version`, `/info`, `/openapi.json`."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Dict, Optional

from ..config import FLAVOR, ServerConfig
from ..routes import (
    FRONT,
    JSON_TYPE,
    PAGES,
    Answer,
    Description,
    Request,
    Route,
    RouteGroup,
    Vitals,
    described_response,
    json_answer,
)
from ..version import __version__

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class OwnRoutes(RouteGroup):
    """What every server has, whichever protocols it speaks."""

    name = "server"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        # That of the server, whichever process of it answers.
        self._pid = os.getpid()
        get = ("GET",)
        self.routes = (
            Route("/ping", get, FRONT, _ping, is_open=True),
            Route("/health", get, FRONT, _ping, is_open=True),
            Route("/metrics", get, FRONT, _metrics),
            Route("/version", get, PAGES, self._version),
            Route("/info", get, PAGES, self._info),
            Route("/openapi.json", get, PAGES, self._openapi),
        )

    def describe(self) -> Description:
        """What probes, figures and pages answer."""
        ready = {
            "200": described_response("Predictions would be answered now.", JSON_TYPE),
            "503": described_response("They would not.", JSON_TYPE),
        }
        ping = {
            "summary": "Whether the model is loaded",
            "description": "Answered at once, whatever the model does. The body is empty but for a"
            " line's end, as MLflow's.",
            "responses": ready,
        }
        figures = described_response(
            "In Prometheus' text format.", "text/plain", {"type": "string"}
        )
        version = described_response("Its bare text, which is no JSON.", JSON_TYPE)
        document = {"type": "object"}
        return Description(
            {
                "GET /ping": ping,
                "GET /health": ping,
                "GET /metrics": {
                    "summary": "Figures of the server",
                    "responses": {"200": figures},
                },
                "GET /version": {
                    "summary": "The version of MLflow that logged the model",
                    "responses": {"200": version},
                },
                "GET /info": {
                    "summary": "The model, and the Python and environment that it runs in",
                    "responses": {"200": described_response("What is known.", JSON_TYPE, document)},
                },
                "GET /openapi.json": {
                    "summary": "This description",
                    "responses": {"200": described_response("OpenAPI 3.1.", JSON_TYPE, document)},
                },
            }
        )

    def _version(self, _request: Request, _vitals: Vitals) -> Answer:
        version = self._config.model.mlflow_version or "unknown"
        return Answer(200, [("Content-Type", JSON_TYPE)], version.encode())

    def _info(self, _request: Request, _vitals: Vitals) -> Answer:
        return json_answer(200, {**describe(self._config), "pid": self._pid})

    def _openapi(self, _request: Request, vitals: Vitals) -> Answer:
        from .openapi import openapi

        return json_answer(200, openapi(self._config, vitals.groups))


def _ping(_request: Request, vitals: Vitals) -> Answer:
    status = 200 if vitals.is_ready else 503
    return Answer(status, [("Content-Type", JSON_TYPE)], b"\n")


def _metrics(_request: Request, vitals: Vitals) -> Answer:
    return Answer(200, [("Content-Type", METRICS_TYPE)], vitals.metrics())


def describe(config: ServerConfig) -> Dict[str, Any]:
    """What `/info` says of the model, and of the Python and environment that really run."""
    model, environment = config.model, config.environment
    described: Dict[str, Any] = {
        "model": {
            # As the registry has it: a downloaded model's own name may be none.
            "name": model.name if model.version is None else model.served_names[0],
            "version": model.version,
            "aliases": list(model.aliases),
            "uuid": model.uuid,
            "model_id": model.model_id,
            "run_id": model.run_id,
            "uri": model.uri if config.server.debug or _is_remote(model.uri) else None,
            "flavors": sorted(name for name in model.flavors if name != FLAVOR),
            "loader_module": (model.flavors.get(FLAVOR) or {}).get("loader_module"),
            "mlflow_version": model.mlflow_version,
        },
        "environment": {
            "env_manager": environment.env_manager,
            "as_of": environment.as_of,
            "key": environment.key,
        },
        "python": ".".join(map(str, sys.version_info[:3])),
        "scoring_server": __version__,
    }
    if environment.r is not None:
        described["r"] = {name: environment.r.get(name) for name in ("version", "packages")}
    return described


def _is_remote(uri: Optional[str]) -> bool:
    """Whether a model URI names no path on this machine."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", uri or "")
    return scheme is not None and scheme.group().lower() != "file:"
