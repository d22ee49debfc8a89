"""Load models with MLflow and with the scoring server's loader, under MLflow's two switches.

    python load_permitted.py FOLDER SETTINGS

SETTINGS is a JSON list of objects of environment variables. Makes the models in FOLDER and prints
by setting and model what became of it with each: "loaded", or the message of its refusal.
"""

import json
import os
import pathlib
import sys
import warnings

import mlflow
import numpy as np
from sklearn.linear_model import LinearRegression

from scoring_server.config import ServerConfig
from scoring_server.errors import ModelLoadError
from scoring_server.model.loading import load_model

CODE = """
import mlflow


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input


mlflow.models.set_model(Model())
"""
LOADER = """
class Model:
    def predict(self, model_input):
        return model_input


def _load_pyfunc(path):
    return Model()
"""
QUIET: dict[str, list[str]] = {"pip_requirements": []}


class Pickled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input


def log(folder):
    """Save a model of each way to run code at loading."""
    (folder / "code.py").write_text(CODE)
    (folder / "with_code").mkdir()
    (folder / "with_code" / "a_loader.py").write_text(LOADER)
    fitted = LinearRegression().fit(np.eye(3), np.ones(3))
    mlflow.pyfunc.save_model(folder / "pickled", python_model=Pickled(), **QUIET)
    mlflow.pyfunc.save_model(folder / "code", python_model=str(folder / "code.py"), **QUIET)
    mlflow.pyfunc.save_model(
        folder / "loader",
        loader_module="a_loader", code_paths=[str(folder / "with_code" / "a_loader.py")],
        **QUIET,
    )  # fmt: skip
    mlflow.sklearn.save_model(
        fitted, folder / "sklearn", serialization_format="cloudpickle", **QUIET
    )
    return ["pickled", "code", "loader", "sklearn"]


def by_mlflow(path):
    try:
        mlflow.pyfunc.load_model(str(path))
    except (ValueError, mlflow.MlflowException) as error:
        return str(error)
    return "loaded"


def by_us(path):
    model = mlflow.models.Model.load(str(path))
    content = {"path": str(path), "flavors": model.flavors}
    config = {"config_version": 1, "model": content, "server": {}}
    file = path.parent / "config.json"
    file.write_text(json.dumps(config))
    try:
        load_model(ServerConfig.read(str(file)))
    except ModelLoadError as error:
        return error.message + " " + (error.hint or "")
    return "loaded"


def main(folder, settings):
    warnings.simplefilter("ignore")
    names = log(folder)
    found = []
    for variables in settings:
        os.environ.update(variables)
        found.append({name: [by_mlflow(folder / name), by_us(folder / name)] for name in names})
        for name in variables:
            del os.environ[name]
    print(json.dumps({"version": mlflow.__version__, "found": found}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))
