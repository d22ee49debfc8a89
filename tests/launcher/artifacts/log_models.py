"""Run by a real MLflow (not by pytest): log and register models, print what was made as JSON.

python log_models.py TRACKING_URI NUMBER_OF_VERSIONS [ARTIFACT_LOCATION]
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient

NAME = "iris flower"
BLOB_BYTES = 3_000_000


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):  # noqa: ARG002
        return model_input


def log(artifact_name, blob):
    """Log one model with a large file and a folder in it; return its MLflow ModelInfo."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blob one.bin"
        path.write_bytes(blob)
        name = "name" if mlflow.__version__.startswith("3") else "artifact_path"
        return mlflow.pyfunc.log_model(
            python_model=Echo(),
            artifacts={"blob": str(path)},
            pip_requirements=["mlflow"],
            registered_model_name=NAME,
            **{name: artifact_name},
        )


def main():
    mlflow.set_tracking_uri(sys.argv[1])
    client = MlflowClient()
    numbers = range(1, int(sys.argv[2]) + 1)
    location = sys.argv[3] if len(sys.argv) > 3 else None
    experiment = client.create_experiment("flowers", artifact_location=location)
    mlflow.set_experiment(experiment_id=experiment)
    made = {"name": NAME, "runs": [], "model_ids": [], "version": mlflow.__version__}
    for number in numbers:
        with mlflow.start_run() as run:
            info = log("model", bytes([number]) * 1000 + os.urandom(BLOB_BYTES))
            mlflow.log_text("no model", "notes/readme.txt")
        made["runs"].append(run.info.run_id)
        made["model_ids"].append(getattr(info, "model_id", None))
        made["artifact_uri"] = run.info.artifact_uri
    client.set_registered_model_alias(NAME, "champion", "1")
    client.transition_model_version_stage(NAME, "1", "Production")
    open_run = client.create_run(experiment)
    made["unfinished_run"] = open_run.info.run_id
    for number in numbers:
        folder = mlflow.artifacts.download_artifacts(f"models:/{NAME}/{number}")
        made[f"downloaded_{number}"] = folder
    print(json.dumps(made))


main()
