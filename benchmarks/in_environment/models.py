"""Makes the models that are served: ``python models.py KIND FOLDER``, with mlflow and sklearn.

KIND is `logistic` (a plain logistic regression: predicting three rows costs little, so that the
server's own cost shows), `forest` (some 20 ms, so that the model is the cost), or `xgboost` and
`lightgbm`: 100 trees each, by those libraries.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression


def main(kind: str, folder: str) -> None:
    """Train on the iris data set and save the model that names the species (trees: its number)."""
    iris = load_iris(as_frame=True)
    measures = iris.data.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_"))
    species: Any = iris.target.map(dict(enumerate(iris.target_names)))
    flavor, options = "sklearn", {"serialization_format": "cloudpickle"}
    model: Any
    if kind == "logistic":
        model = LogisticRegression(max_iter=1000)
    elif kind == "forest":
        model = RandomForestClassifier(n_estimators=500, random_state=0, n_jobs=1)
    else:
        flavor, options, species = kind, {}, iris.target
        names = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}
        classifier = getattr(importlib.import_module(kind), names[kind])
        model = classifier(n_estimators=100, n_jobs=1, random_state=0)
    model.fit(measures, species)
    importlib.import_module(f"mlflow.{flavor}").save_model(
        model,
        folder,
        signature=infer_signature(measures, model.predict(measures)),
        **options,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
