"""Serve many models with the scoring server under test, each below /<name>.

    python serve_ours.py FOLDER FD [SETTINGS]

FD is a bound socket, SETTINGS a JSON object for the `server` part of the configuration. The line
"ready" on standard output says that requests are answered.
"""

import json
import pathlib
import sys

import yaml

from scoring_server.config import ServerConfig
from scoring_server.events import Ready
from scoring_server.model.fork_safety import fork_hazards
from scoring_server.model.loading import load_model
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.protocols.own_routes import OwnRoutes
from scoring_server.routes import FRONT, WORKER, Answer, Route
from scoring_server.scoring.application import Application
from scoring_server.service import Handler
from scoring_server.serving import make_service, serve
from scoring_server.status import StatusChannel
from scoring_server.worker.lifeline import Lifeline


def configuration(path, settings):
    """The server's configuration for a model folder, as the launcher would write it."""
    document = yaml.safe_load((path / "MLmodel").read_text())
    signature = document.get("signature")
    if signature:
        signature = {
            key: json.loads(signature[key]) if signature.get(key) else None
            for key in ("inputs", "outputs", "params")
        }
    model = dict(document, path=str(path), uuid=document.get("model_uuid"), signature=signature)
    return ServerConfig.from_dict({"model": model, "server": settings})


class EachBelowItsName(MlflowProtocol):
    """The protocol of MLflow, for many models."""

    def __init__(self, config, configs):
        super().__init__(config)
        own = OwnRoutes(config)
        ping = own.routes[0].handle
        self.routes = (
            Route("/<model>/invocations", ("POST",), WORKER),
            Route("/<model>/ping", ("GET",), FRONT, ping),
            Route("/<model>/health", ("GET",), FRONT, ping),
            Route("/<model>/version", ("GET",), FRONT, self._version),
        )
        self._configs = configs

    def _version(self, request, _vitals):
        version = self._configs[request.params["model"]].model.mlflow_version
        return Answer(200, [("Content-Type", "application/json")], version.encode())


class EachModel(Handler):
    """Answers with the model that the request names."""

    def __init__(self, configs):
        self._served = {
            name: Application(config, load_model(config)) for name, config in configs.items()
        }

    def answer(self, request):
        return self._served[request.params["model"]].answer(request)


class Announcement(StatusChannel):
    """Says on standard output when requests are answered."""

    def send(self, event):
        if isinstance(event, Ready):
            print("ready", flush=True)


if __name__ == "__main__":
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    configs = {
        path.name: configuration(path, settings)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir())
    }
    config = ServerConfig.from_dict({"model": {"path": "/"}, "server": settings})
    served = EachModel(configs)
    # As the server does before it forks: what the libraries of the models run is ended.
    assert not fork_hazards()
    groups = [EachBelowItsName(config, configs)]
    service = make_service(config, groups=groups)._replace(load=lambda: served, load_seconds=0.0)
    sys.exit(serve(service, int(sys.argv[2]), Announcement(None), Lifeline(None)))
