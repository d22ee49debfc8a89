"""Serve many models with MLflow's own scoring server, each below /<name>.

    python serve_mlflow.py FOLDER FD

FD is a bound socket. The line "ready" on standard output says that requests are answered.
"""

import pathlib
import sys

import fastapi
import mlflow
import uvicorn
from mlflow.pyfunc import scoring_server


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("ready", flush=True)


def application(folder):
    app = fastapi.FastAPI()
    for path in sorted(folder.iterdir()):
        model = mlflow.pyfunc.load_model(str(path), suppress_warnings=True)
        app.mount("/" + path.name, scoring_server.init(model))
    return app


if __name__ == "__main__":
    config = uvicorn.Config(
        application(pathlib.Path(sys.argv[1])), fd=int(sys.argv[2]), log_level="error"
    )
    Server(config).run()
