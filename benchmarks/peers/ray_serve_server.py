"""The model behind Ray Serve, one replica: ``python ray_serve_server.py MODEL HOST PORT FOLDER``.

FOLDER is for what a session leaves; its path has to be short (Unix sockets are in it).
"""

from __future__ import annotations

import pickle
import signal
import sys
from pathlib import Path

import orjson
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

MODEL, HOST, PORT, FOLDER = sys.argv[1:]
OBJECT_STORE_BYTES = 100 * 2**20


class Iris:
    """Takes `dataframe_split`, answers `predictions`, as MLflow's protocol has them."""

    def __init__(self, model: str) -> None:
        with Path(model, "model.pkl").open("rb") as file:
            self.model = pickle.load(file)

    async def __call__(self, request: Request) -> Response:
        if request.url.path == "/ping":
            return Response()
        split = orjson.loads(await request.body())["dataframe_split"]
        frame = pd.DataFrame(split["data"], columns=split["columns"])
        predictions = self.model.predict(frame).tolist()
        return Response(orjson.dumps({"predictions": predictions}), media_type="application/json")


def main() -> None:
    """Serve until SIGTERM, then end all processes of the session."""
    ends = {signal.SIGTERM, signal.SIGINT}
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=2,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        _temp_dir=FOLDER,
    )
    try:
        serve.start(http_options={"host": HOST, "port": int(PORT)})
        iris = serve.deployment(num_replicas=1, max_ongoing_requests=100)(Iris)
        serve.run(iris.bind(MODEL), name="iris", route_prefix="/")
        # Here, and not before: what Ray starts would have them blocked as well.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
