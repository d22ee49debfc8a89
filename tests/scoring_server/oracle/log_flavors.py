"""Log one model of each flavor that the scoring server reads without MLflow.

    python log_flavors.py FOLDER

Each folder below FOLDER has a model and `request.json`, a body that it answers.
"""

import json
import pathlib
import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROWS = 60
RANDOM = np.random.default_rng(0)
NUMBERS = pd.DataFrame(RANDOM.normal(size=(ROWS, 3)).round(3), columns=["a", "b", "c"])
CLASSES = pd.Series((NUMBERS["a"] + NUMBERS["b"] > 0).astype(int), name="class")
VALUES = NUMBERS["a"] * 2 - NUMBERS["c"]
QUIET: dict[str, list[str]] = {"pip_requirements": []}


def sklearn(**options):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, CLASSES)
    return lambda path: mlflow.sklearn.save_model(model, path, **QUIET, **options)


def lightgbm_booster(path):
    import lightgbm

    model = lightgbm.train({"verbose": -1}, lightgbm.Dataset(NUMBERS, VALUES), 5)
    mlflow.lightgbm.save_model(model, path, **QUIET)


def lightgbm_classifier(path):
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(NUMBERS, CLASSES)
    mlflow.lightgbm.save_model(model, path, serialization_format="cloudpickle", **QUIET)


def xgboost_booster(path):
    import xgboost

    model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(NUMBERS, CLASSES), 3)
    params = ParamSchema(
        [ParamSpec("output_margin", "boolean", True), ParamSpec("unknown", "long", 1)]
    )
    inputs = Schema([ColSpec("double", name) for name in NUMBERS])
    mlflow.xgboost.save_model(
        model, path, signature=ModelSignature(inputs=inputs, params=params), **QUIET
    )


def xgboost_classifier(path):
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=3).fit(NUMBERS, CLASSES)
    mlflow.xgboost.save_model(model, path, **QUIET)


def xgboost_forest(path):
    import xgboost

    model = xgboost.XGBRFRegressor(n_estimators=3).fit(NUMBERS, VALUES)
    mlflow.xgboost.save_model(model, path, model_format="json", **QUIET)


def catboost(name):
    def save(path):
        import catboost

        labels = CLASSES if name == "CatBoostClassifier" else VALUES
        model = getattr(catboost, name)(
            **({"params": {"iterations": 3}} if name == "CatBoost" else {"iterations": 3})
        )
        model.fit(NUMBERS, labels, verbose=False)
        mlflow.catboost.save_model(model, path, **QUIET)

    return save


def statsmodels_ols(path):
    import statsmodels.api

    mlflow.statsmodels.save_model(statsmodels.api.OLS(VALUES, NUMBERS).fit(), path, **QUIET)


def statsmodels_arima(path):
    from statsmodels.tsa.arima.model import ARIMA

    mlflow.statsmodels.save_model(ARIMA(VALUES, order=(1, 0, 0)).fit(), path, **QUIET)


def onnx_graph(path, inputs, nodes, shape, **options):
    import onnx
    from onnx import TensorProto, helper

    weight = helper.make_tensor("weight", TensorProto.FLOAT, [3, 1], [1.0, -2.0, 0.5])
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    mlflow.onnx.save_model(model, path, **QUIET, **options)


def onnx_one_input(path, **options):
    from onnx import TensorProto, helper

    nodes = [helper.make_node("MatMul", ["table", "weight"], ["answer"])]
    onnx_graph(path, [("table", TensorProto.FLOAT, [None, 3])], nodes, [None, 1], **options)


def onnx_options(**options):
    return lambda path: onnx_one_input(path, onnx_session_options=options)


def onnx_provider_text(path):
    """Only text where MLflow writes a list: by hand."""
    onnx_one_input(path)
    change(path, lambda flavors: flavors["onnx"].update(providers="CPUExecutionProvider"))


def onnx_tensor(path):
    onnx_one_input(path)
    model = mlflow.models.Model.load(path)
    model.signature = infer_signature(NUMBERS.to_numpy())
    model.save(str(pathlib.Path(path, "MLmodel")))


def onnx_two_inputs(path):
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Mul", ["a", "c"], ["answer"])]
    inputs = [("a", TensorProto.FLOAT, [None]), ("c", TensorProto.FLOAT, [None])]
    onnx_graph(path, inputs, nodes, [None])


def change(path, edit):
    """Edit the flavors in the MLmodel file of a folder."""
    model = mlflow.models.Model.load(path)
    edit(model.flavors)
    model.save(str(pathlib.Path(path, "MLmodel")))


MODELS = {
    "sklearn_pickle": sklearn(serialization_format="pickle"),
    "sklearn_cloudpickle": sklearn(serialization_format="cloudpickle"),
    "sklearn_skops": sklearn(serialization_format="skops"),
    "sklearn_proba": sklearn(serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba"),
    "lightgbm_booster": lightgbm_booster,
    "lightgbm_classifier": lightgbm_classifier,
    "xgboost_booster": xgboost_booster,
    "xgboost_classifier": xgboost_classifier,
    "xgboost_forest": xgboost_forest,
    "catboost_classifier": catboost("CatBoostClassifier"),
    "catboost_regressor": catboost("CatBoostRegressor"),
    "catboost_plain": catboost("CatBoost"),
    "statsmodels_ols": statsmodels_ols,
    "statsmodels_arima": statsmodels_arima,
    "onnx_one_input": onnx_one_input,
    "onnx_tensor": onnx_tensor,
    "onnx_two_inputs": onnx_two_inputs,
    "onnx_parallel": onnx_options(
        execution_mode="parallel", inter_op_num_threads=2, graph_optimization_level=1
    ),
    "onnx_sequential": onnx_options(
        execution_mode="Sequential",
        intra_op_num_threads=1,
        inter_op_num_threads=0,
        graph_optimization_level=99,
        extra_session_config={"session.intra_op.allow_spinning": "0"},
    ),
    "onnx_provider_text": onnx_provider_text,
}


def request(name):
    if name == "statsmodels_arima":
        return {"dataframe_records": [{"start": 60, "end": 64}]}
    if name == "onnx_tensor":
        return {"inputs": NUMBERS.head(7).to_numpy().tolist()}
    return {"dataframe_split": NUMBERS.head(7).to_dict(orient="split", index=False)}


def log(folder, models, request):
    """Save the models, a function of the path each, by name; `request` gives a body by name."""
    for name, save in models.items():
        path = pathlib.Path(folder, name)
        if not (path / "request.json").exists():
            save(str(path))
            (path / "request.json").write_text(json.dumps(request(name)))


if __name__ == "__main__":
    log(sys.argv[1], MODELS, request)
