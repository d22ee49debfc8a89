"""Serve many models with the scoring server's WSGI application, each below /<name>.

    python serve_v2.py FOLDER FD

FD is a bound socket. The line "ready" on standard output says that requests are answered.
"""

import pathlib
import sys

from serve_ours import configuration
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from scoring_server.wsgi import create_app


def application(path):
    config = configuration(path, {})
    return create_app(config._replace(model=config.model._replace(names=[path.name])))


def not_found(_environ, start_response):
    start_response("404 Not Found", [])
    return [b""]


if __name__ == "__main__":
    apps = {
        "/" + path.name: application(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())
    }
    server = make_server(
        "127.0.0.1", 0, DispatcherMiddleware(not_found, apps), threaded=True, fd=int(sys.argv[2])
    )
    server.socket.listen(128)
    print("ready", flush=True)
    server.serve_forever()
