"""Serve many models with the scoring server under test, each with OpenAI's API below /<name>.

    python serve_openai.py FOLDER FD

FD is a bound socket. The line "ready" on standard output says that requests are answered.
"""

import dataclasses
import pathlib
import sys

import mlflow
from serve_ours import Announcement, configuration

from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.protocols.openai.protocol import OpenAIProtocol
from scoring_server.scoring.application import Application
from scoring_server.service import Handler
from scoring_server.serving import make_service, serve
from scoring_server.worker.lifeline import Lifeline


def below(name, group):
    """The group with its paths below a name."""
    group.name += name
    group.model = name
    group.routes = [
        dataclasses.replace(route, path=f"/{name}{route.path}") for route in group.routes
    ]
    if group.errors_below is not None:
        group.errors_below = f"/{name}{group.errors_below}"
    return group


class EachModel(Handler):
    """Answers with the model that the request is for."""

    def __init__(self, configs):
        self._served = {
            name: Application(config, load_model(config)) for name, config in configs.items()
        }

    def answer(self, request):
        return self._served[request.group.model].answer(request)


if __name__ == "__main__":
    # Agents would write what they do into a database, which takes half a minute to make.
    mlflow.tracing.disable()
    configs = {
        path.name: configuration(path, {}) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())
    }
    config = ServerConfig.from_dict({"model": {"path": "/"}, "server": {}})
    served = EachModel(configs)
    groups = [
        below(name, kind(config))
        for name, config in configs.items()
        for kind in (MlflowProtocol, OpenAIProtocol)
    ]
    service = make_service(config, groups=groups)._replace(load=lambda: served, load_seconds=0.0)
    sys.exit(serve(service, int(sys.argv[2]), Announcement(None), Lifeline(None)))
