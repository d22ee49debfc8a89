"""The model behind LitServe: run by the Python of LitServe's environment."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path

import litserve
import numpy
import pandas as pd


class Iris(litserve.LitAPI):
    """Takes `dataframe_split`, answers `predictions`, as MLflow's protocol has them."""

    def setup(self, device):  # noqa: ARG002
        with Path(MODEL, "model.pkl").open("rb") as file:
            self.model = pickle.load(file)

    def decode_request(self, request):
        split = request["dataframe_split"]
        return pd.DataFrame(split["data"], columns=split["columns"])

    def batch(self, inputs):
        self.lengths = [len(frame) for frame in inputs]
        return pd.concat(inputs)

    def predict(self, frame):
        return self.model.predict(frame)

    def unbatch(self, output):
        return numpy.split(output, list(itertools.accumulate(self.lengths))[:-1])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


MODEL, HOST, PORT, WORKERS, *FLAGS = sys.argv[1:]

if __name__ == "__main__":
    batching = {"max_batch_size": 64, "batch_timeout": 0.001} if "--batching" in FLAGS else {}
    api = Iris(api_path="/invocations", **batching)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(WORKERS))
    server.run(
        host=HOST,
        port=int(PORT),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
