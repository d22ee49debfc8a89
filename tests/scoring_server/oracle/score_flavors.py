"""Load models and answer one request each: ``python score_flavors.py CONFIG...``

Prints one JSON object: by model, the answer and whether MLflow was imported for it.
"""

import json
import pathlib
import sys

from scoring_server.config import ServerConfig
from scoring_server.loading import ModelLoadError, load_model
from scoring_server.scoring import Scorer


def main(paths):
    found = {}
    for path in paths:
        config = ServerConfig.read(path)
        model = pathlib.Path(config.model.path)
        try:
            scorer = Scorer(config, load_model(config))
            answer = scorer.score((model / "request.json").read_bytes(), "application/json")
            found[model.name] = {"answer": json.loads(answer)}
        except ModelLoadError as error:
            found[model.name] = {"refused": error.message, "hint": error.hint}
        found[model.name]["mlflow"] = "mlflow" in sys.modules
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
