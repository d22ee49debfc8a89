"""Load models and answer one request each: ``python score_flavors.py CONFIG...``

Prints one JSON object: by model, the answer or the status of the error, whether MLflow was imported
for it, and what ONNX Runtime was told.
"""

import json
import pathlib
import sys

from scoring_server.config import ServerConfig
from scoring_server.errors import ModelLoadError
from scoring_server.model.fork_safety import fork_hazards
from scoring_server.model.loading import load_model
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application


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
            protocol = MlflowProtocol(config)
            headers = {"content-type": "application/json"}
            body = (model / "request.json").read_bytes()
            request = Request(
                protocol, protocol.routes[0], "POST", "/invocations", {}, "", headers, body
            )
            answer = Application(config, loaded).answer(request)
            if answer.status == 200:
                found[model.name]["answer"] = json.loads(answer.body)
            else:
                found[model.name]["status"] = answer.status
                found[model.name]["message"] = json.loads(answer.body)["message"]
        except ModelLoadError as error:
            found[model.name] = {"refused": error.message, "hint": error.hint}
        found[model.name]["mlflow"] = "mlflow" in sys.modules
        found[model.name]["hazards"] = fork_hazards()
        loaded = None
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
