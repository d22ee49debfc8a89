"""Have estimators of scikit-learn prove their batching; one JSON object, the state of each."""

from __future__ import annotations

import json
import random
import sys

from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeClassifier

from scoring_server.config import ServerConfig
from scoring_server.model.loading import LoadedModel
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring import proven_batching
from scoring_server.scoring.application import Application
from scoring_server.service import Batching

COLUMNS = list("abcdefgh")
INPUTS = [{"type": "double", "name": name} for name in COLUMNS]
ESTIMATORS = [
    (LogisticRegression(), "predict"),
    (LogisticRegression(), "predict_proba"),
    (Ridge(), "predict"),
    (make_pipeline(StandardScaler(), PolynomialFeatures(), Ridge()), "predict"),
    (DecisionTreeClassifier(random_state=1), "predict"),
    (GradientBoostingRegressor(n_estimators=20, random_state=1), "predict"),
    (HistGradientBoostingClassifier(max_iter=20, random_state=1), "predict_proba"),
    (KNeighborsRegressor(), "predict"),
    (KMeans(3, n_init=1, random_state=1), "predict"),
    (GaussianNB(), "predict_proba"),
    (MLPRegressor(hidden_layer_sizes=(32,), max_iter=20, random_state=1), "predict"),
    (make_pipeline(StandardScaler(), SVR()), "predict"),
]
# Batches from which on one that proves nothing is given up, and those that follow the proof.
MOST, AFTER = 150, 10


class Clock:
    """One by which each prediction takes a second, so that it is worth while to batch."""

    seconds = 0.0

    @classmethod
    def perf_counter(cls):
        return cls.seconds


def main() -> None:
    vars(proven_batching)["time"] = Clock
    x, y = make_classification(400, len(COLUMNS), n_informative=5, random_state=7)
    found = {}
    for estimator, method in ESTIMATORS:
        estimator.fit(x, y)
        for tolerance in (0.0, 1e-9):
            name = "{} {} {}".format(
                estimator[-1] if hasattr(estimator, "steps") else estimator, method, tolerance
            )
            found[name] = prove(getattr(estimator, method), tolerance)
    json.dump(found, sys.stdout)


def prove(function, tolerance):
    """The state that batching gets to, and the largest error of a number that was answered."""
    server = {"max_batch_rows": "auto", "batch_tolerance": tolerance}
    model = {"path": "/", "signature": {"inputs": INPUTS}}
    config = ServerConfig.from_dict({"model": model, "server": server})
    batching = Batching.of(config.server)

    def predict(data, params):
        Clock.seconds += 1
        return function(data.to_numpy())

    loaded = LoadedModel(function, predict)
    application = Application(config, loaded, batching)
    protocol = MlflowProtocol(config)
    route, headers = protocol.routes[0], {"content-type": "application/json"}
    chance, left, error = random.Random(11), AFTER, 0.0
    for _ in range(MOST):
        left -= batching.state != "proving"
        if not left:
            break
        together = []
        for _ in range(chance.randint(2, 6)):
            rows = [[chance.gauss(0, 2) for _ in COLUMNS] for _ in range(chance.randint(1, 2))]
            body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode()
            together.append(Request(protocol, route, "POST", "", {}, "", headers, body))
        parts = application.answer_together(together, lambda _: None)
        answers = dict(each for part in parts for each in part)
        for place, request in enumerate(together):
            alone, got = numbers(application.answer(request)), numbers(answers[place])
            assert len(alone) == len(got)
            differences = [abs(a - b) / max(1, abs(a)) for a, b in zip(alone, got)]
            error = max(error, *differences)
    return {"state": batching.state, "error": error}


def numbers(answer):
    """Those of a list of numbers, or of lists of them."""
    found = json.loads(answer.body)["predictions"]
    return [each for row in found for each in (row if isinstance(row, list) else [row])]


main()
