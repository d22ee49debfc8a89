"""Serve many models with the scoring server under test, each below /<name>, on gunicorn.

    python serve_ours.py FOLDER FD [SETTINGS]

FD is a bound socket, SETTINGS a JSON object for the `server` part of the configuration. The line
"ready" on standard output says that requests are answered.
"""

import json
import pathlib
import sys

import yaml
from gunicorn.app.base import BaseApplication

from scoring_server.application import create_wsgi
from scoring_server.config import ServerConfig
from scoring_server.loading import load_model


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
        served[path.name] = create_wsgi(config, load_model(config))

    def wsgi(environ, start_response):
        _, name, rest = environ["PATH_INFO"].split("/", 2)
        environ["PATH_INFO"] = "/" + rest
        return served[name](environ, start_response)

    return wsgi


class Server(BaseApplication):
    def __init__(self, wsgi, fd):
        self._wsgi, self._fd = wsgi, fd
        super().__init__()

    def load_config(self):
        settings = {
            "bind": f"fd://{self._fd}",
            "worker_class": "gthread",
            "threads": 8,
            "timeout": 0,
            "graceful_timeout": 1,
            "loglevel": "error",
            "preload_app": True,
            "post_worker_init": lambda worker: print("ready", flush=True),
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self):
        return self._wsgi


if __name__ == "__main__":
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    Server(dispatcher(pathlib.Path(sys.argv[1]), settings), int(sys.argv[2])).run()
