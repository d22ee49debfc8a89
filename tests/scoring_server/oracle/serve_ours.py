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
from scoring_server.model.fork_safety import fork_hazards
from scoring_server.model.loading import load_model
from scoring_server.serving import make_application, serve
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


def dispatcher(folder, settings):
    served = {}
    for path in sorted(folder.iterdir()):
        config = configuration(path, settings)
        served[path.name] = make_application(config, load_model(config))

    def wsgi(environ, start_response):
        _, name, rest = environ["PATH_INFO"].split("/", 2)
        environ["PATH_INFO"] = "/" + rest
        return served[name](environ, start_response)

    return wsgi


class Announcement(StatusChannel):
    """Says on standard output when requests are answered."""

    def send(self, event, **fields):
        if event == "ready":
            print("ready", flush=True)


if __name__ == "__main__":
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    served = dispatcher(pathlib.Path(sys.argv[1]), settings)
    # As the server does before it forks: what the libraries of the models run is ended.
    assert not fork_hazards()
    # The time limit is the front's: see make_application.
    config = ServerConfig.from_dict({"model": {"path": "/"}, "server": settings})
    sys.exit(serve(config, served, 0.0, int(sys.argv[2]), Announcement(None), Lifeline(None)))
