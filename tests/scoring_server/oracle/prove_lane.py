"""Predict from tables and from arrays, with all models that can be made here: both must be equal.

    python prove_lane.py SEED KINDS [LIBRARY]

Prints one JSON object: by model, whether the direct lane takes it by itself, how many tables it
was asked, and where its answers differ. Models of libraries that are not installed are left out.
"""

import importlib.util
import json
import sys
import warnings

import numpy as np
import pandas as pd

from scoring_server.model.direct import NotDirect, direct_call
from scoring_server.model.flavors import _XGBoostModel
from scoring_server.model.loading import LoadedModel
from scoring_server.scoring.direct_lane import _difference, _outcome
from scoring_server.signature.number_rows import NumberRows

ROWS = 120
KINDS = {
    "doubles": ["f8"] * 4, "floats": ["f4"] * 4, "longs": ["i8"] * 4,
    "mixed": ["f8", "i8", "i4", "f4"], "whole": ["i8", "i4", "i4", "i8"],
    "narrow": ["f4", "i4", "f4", "i4"],
}  # fmt: skip
NAMES = list("abcd")


def table(random, kinds, rows, wild=False):
    """A table of numbers; `wild`: with some that are far out, tiny, or missing."""
    columns = {}
    for name, kind in zip(NAMES, kinds):
        values = random.normal(size=rows) * 3 + 4
        if wild and kind[0] == "f":
            odd = random.choice([-0.0, 1e-310, 1e30, -1e18, np.nan, np.inf, 16777217.0], size=rows)
            values = np.where(random.random(rows) < 0.2, odd, values)
        elif wild:
            values = np.where(
                random.random(rows) < 0.2, random.integers(-(2**31), 2**31, rows), values
            )
        columns[name] = values.astype(kind)
    return pd.DataFrame(columns)


def rows_of(frame):
    """As a request's rows come to the lane: an array, or one a column."""
    kinds = set(frame.dtypes)
    if len(kinds) == 1:
        values = np.asfortranarray(np.stack([frame[name].to_numpy() for name in frame], axis=1))
        return NumberRows(pd.Index(NAMES), values)
    return NumberRows(pd.Index(NAMES), arrays=[frame[name].to_numpy() for name in frame])


def sklearn_models(x, y, classes):
    from sklearn import compose, decomposition, ensemble, linear_model, pipeline, preprocessing, svm
    from sklearn.utils import all_estimators

    for name, kind in all_estimators():
        if hasattr(kind, "predict"):
            for target in (y, classes):
                try:
                    fitted = kind().fit(x, target)
                    fitted.predict(x)
                except Exception:  # noqa: BLE001 - needs arguments, or other data
                    continue
                yield name, fitted, fitted.predict
                if hasattr(fitted, "predict_proba"):
                    yield name + "/proba", fitted, fitted.predict_proba
                break
    steps = [preprocessing.StandardScaler(), decomposition.PCA(2)]
    for last in (
        linear_model.Ridge(),
        ensemble.GradientBoostingRegressor(n_estimators=5),
        svm.SVR(),
    ):
        made = pipeline.make_pipeline(*steps, last).fit(x, y)
        yield "pipeline/" + type(last).__name__, made, made.predict
    made = pipeline.make_pipeline(*steps, linear_model.LogisticRegression()).set_output(
        transform="pandas"
    )
    made.fit(x, classes)
    yield "pipeline/pandas", made, made.predict
    made = compose.TransformedTargetRegressor(linear_model.Ridge()).fit(x, y)
    yield "transformed", made, made.predict
    made = ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", svm.SVR())]).fit(x, y)
    yield "voting", made, made.predict


def booster_models(x, y, classes):
    if importlib.util.find_spec("xgboost"):
        import xgboost

        def wrapped(model):
            matrix = (
                (lambda data: (xgboost.DMatrix(data),))
                if isinstance(model, xgboost.Booster)
                else (lambda data: (data,))
            )
            found = _XGBoostModel(model, matrix)
            return found, found.predict

        many = np.digitize(y, np.quantile(y, [0.3, 0.7]))
        for booster in ("gbtree", "dart", "gblinear"):
            for objective, target in (("reg:squarederror", y), ("binary:logistic", classes)):
                settings = {"objective": objective, "booster": booster}
                trained = xgboost.train(settings, xgboost.DMatrix(x, target), 20)
                yield f"xgboost/{booster}/{objective}", *wrapped(trained)
        trained = xgboost.train(
            {"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(x, many), 5
        )
        yield "xgboost/multi", *wrapped(trained)
        for name, model, target in (
            ("regressor", xgboost.XGBRegressor(n_estimators=20), y),
            ("classifier", xgboost.XGBClassifier(n_estimators=20), classes),
            ("many", xgboost.XGBClassifier(n_estimators=5), many),
            ("softmax", xgboost.XGBClassifier(n_estimators=5, objective="multi:softmax"), many),
            ("forest", xgboost.XGBRFRegressor(n_estimators=5), y),
            ("missing", xgboost.XGBRegressor(n_estimators=5, missing=4.0), y),
            ("linear", xgboost.XGBRegressor(n_estimators=5, booster="gblinear"), y),
            ("early", xgboost.XGBRegressor(n_estimators=20, early_stopping_rounds=2), y),
        ):
            more = {"eval_set": [(x, target)], "verbose": False} if name == "early" else {}
            yield "xgboost/" + name, *wrapped(model.fit(x, target, **more))
    if importlib.util.find_spec("lightgbm"):
        import lightgbm

        quiet = {"verbose": -1}
        trained = lightgbm.train(quiet, lightgbm.Dataset(x, y), 20)
        yield "lightgbm/booster", trained, trained.predict
        many = np.digitize(y, np.quantile(y, [0.3, 0.7]))
        for name, model, target in (
            ("regressor", lightgbm.LGBMRegressor(n_estimators=20, **quiet), y),
            ("classifier", lightgbm.LGBMClassifier(n_estimators=20, **quiet), classes),
            (
                "texts",
                lightgbm.LGBMClassifier(n_estimators=5, **quiet),
                np.array(["no", "yes"])[classes],
            ),
            ("many", lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, **quiet), many),
        ):
            model.fit(x, target)
            yield "lightgbm/" + name, model, model.predict
    if importlib.util.find_spec("catboost"):
        import catboost

        for name in ("CatBoostRegressor", "CatBoostClassifier"):
            model = getattr(catboost, name)(iterations=10, verbose=False, allow_writing_files=False)
            model.fit(x, classes if name.endswith("Classifier") else y)
            yield "catboost/" + name, model, model.predict


def network_models(_x, _y, _classes):
    if importlib.util.find_spec("onnxruntime"):
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper

        from scoring_server.model.onnx import OnnxModel

        weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1, -2, 0.5, 3, 0.1, 7, 2, 2])
        for name, inputs, node in (
            ("matrix", [("x", TensorProto.FLOAT, [None, 4])], ("MatMul", ["x", "w"], [None, 2])),
            (
                "columns",
                [(e, TensorProto.FLOAT, [None]) for e in "ca"],
                ("Mul", ["c", "a"], [None]),
            ),
        ):
            graph = helper.make_graph(
                [helper.make_node(node[0], node[1], ["answer"])], "graph",
                [helper.make_tensor_value_info(*each) for each in inputs],
                [helper.make_tensor_value_info("answer", TensorProto.FLOAT, node[2])], [weight],
            )  # fmt: skip
            made = helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
            )
            onnx.checker.check_model(made)
            model = OnnxModel(onnxruntime.InferenceSession(made.SerializeToString()))
            yield "onnx/" + name, model, model.predict
    if importlib.util.find_spec("torch"):
        import torch

        from scoring_server.model.pytorch import PyTorchModel

        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(),
            torch.nn.Linear(8, 2),
        ).eval()  # fmt: skip
        model = PyTorchModel(net, "cpu")
        yield "torch/net", model, model.predict


def models(x, y, classes, library):
    if library == "torch":
        yield from network_models(x, y, classes)
        return
    if importlib.util.find_spec("sklearn"):
        yield from sklearn_models(x, y, classes)
    yield from booster_models(x, y, classes)
    yield from network_models(x, y, classes)


def main(seed, chosen, library=None):
    random = np.random.default_rng(seed)
    warnings.simplefilter("ignore")
    found = {}
    for kind in chosen:
        kinds = KINDS[kind]
        x = table(random, kinds, ROWS)
        y = x["a"].to_numpy() * 2.0 - x["c"].to_numpy() + random.normal(size=ROWS)
        classes = (y > np.median(y)).astype(int)
        tables = [table(random, kinds, rows, wild) for rows in (1, 3, 40) for wild in (False, True)]
        for name, implementation, predict in models(x, y, classes, library):
            model = LoadedModel(implementation, predict)
            direct = direct_call(model, NAMES, trust=False)
            entry = found.setdefault(name, {"direct": direct is not None, "asked": 0, "differ": []})
            entry["direct"] = entry["direct"] and direct is not None
            if direct is None:
                continue
            for frame in [x, *tables]:
                rows = rows_of(frame)
                expected = _outcome(model.predict, rows.copy().frame())
                got = _outcome(direct, rows.values)
                if isinstance(got.error, NotDirect):
                    continue
                difference = _difference(expected, got)
                entry["asked"] += 1
                if difference is not None:
                    entry["differ"].append(f"{kind}, {len(frame)} rows: {difference}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(","), *sys.argv[3:])
