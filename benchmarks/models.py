"""Makes the models that are served: ``python models.py KIND FOLDER``, with mlflow and sklearn.

KIND is `logistic` (a plain logistic regression: predicting three rows costs little, so that the
server's own cost shows) or `forest` (some 20 ms, so that the model is the cost).
"""

from __future__ import annotations

import sys

import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression


def main(kind: str, folder: str) -> None:
    """Train on the iris data set and save the model that names the species."""
    iris = load_iris(as_frame=True)
    measures = iris.data.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_"))
    species = iris.target.map(dict(enumerate(iris.target_names)))
    if kind == "logistic":
        model = LogisticRegression(max_iter=1000)
    else:
        model = RandomForestClassifier(n_estimators=500, random_state=0, n_jobs=1)
    model.fit(measures, species)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(measures, model.predict(measures)),
        serialization_format="cloudpickle",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
