"""The model behind FastAPI, as somebody writes it by hand: no signature, no errors of its own.

python fastapi_server.py MODEL HOST PORT {dataframe,array} [--threads]
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy
import orjson
import pandas
import uvicorn
from fastapi import Depends, FastAPI, Request, Response

MODEL, HOST, PORT, WAY, *FLAGS = sys.argv[1:]
with Path(MODEL, "model.pkl").open("rb") as file:
    model = pickle.load(file)
if WAY == "array" and hasattr(model, "feature_names_in_"):
    # scikit-learn would warn at each request that an array has no names.
    del model.feature_names_in_
app = FastAPI()


@app.get("/ping")
async def ping() -> Response:
    return Response()


def answer(body: bytes) -> Response:
    split = orjson.loads(body)["dataframe_split"]
    if WAY == "array":
        table = numpy.array(split["data"])
    else:
        table = pandas.DataFrame(split["data"], columns=split["columns"])
    predictions = model.predict(table).tolist()
    return Response(orjson.dumps({"predictions": predictions}), media_type="application/json")


if "--threads" in FLAGS:
    # The body comes first: a handler that is no coroutine runs in a thread.
    async def read(request: Request) -> bytes:
        body: bytes = await request.body()
        return body

    @app.post("/invocations")
    def invocations(body: bytes = Depends(read)) -> Response:
        return answer(body)
else:

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        return answer(await request.body())


if __name__ == "__main__":
    uvicorn.run(
        app, host=HOST, port=int(PORT), http="httptools", loop="uvloop", access_log=False,
        log_level="warning",
    )  # fmt: skip
