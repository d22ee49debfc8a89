"""Load models and answer one request each: ``python score_flavors.py CONFIG...``

Prints one JSON object: by model, the answer or the status of the error, whether MLflow was imported
for it, and what ONNX Runtime was told.
"""

import json
import pathlib
import sys

from scoring_server.config import ServerConfig
from scoring_server.errors import ScoringError
from scoring_server.model.fork_safety import fork_hazards
from scoring_server.model.loading import ModelLoadError, load_model
from scoring_server.scoring.scorer import Scorer


def session_options(implementation, flavors):
    """The options of the ONNX Runtime session that MLflow's wrapper, or ours, holds; else None."""
    session = getattr(implementation, "rt", None) or getattr(implementation, "_session", None)
    if session is None:
        return None
    options = session.get_session_options()
    extra = (flavors["onnx"].get("onnx_session_options") or {}).get("extra_session_config") or {}
    return {
        "execution_mode": str(options.execution_mode),
        "graph_optimization_level": str(options.graph_optimization_level),
        "inter_op_num_threads": options.inter_op_num_threads,
        "intra_op_num_threads": options.intra_op_num_threads,
        **{name: options.get_session_config_entry(name) for name in extra},
    }


def main(paths):
    found = {}
    for path in paths:
        config = ServerConfig.read(path)
        model = pathlib.Path(config.model.path)
        try:
            loaded = load_model(config)
            found[model.name] = {
                "session": session_options(loaded.implementation, config.model.flavors)
            }
            answer = Scorer(config, loaded).score(
                (model / "request.json").read_bytes(), "application/json"
            )
            found[model.name]["answer"] = json.loads(answer)
        except ModelLoadError as error:
            found[model.name] = {"refused": error.message, "hint": error.hint}
        except ScoringError as error:
            found[model.name]["status"] = error.status
            found[model.name]["message"] = error.message
        found[model.name]["mlflow"] = "mlflow" in sys.modules
        found[model.name]["hazards"] = fork_hazards()
        loaded = None
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
