"""Log the models of the differential suite with the real MLflow of this environment.

    python log_models.py FOLDER

Makes one folder a model below FOLDER. Most models are `Describe`: they answer with a description
of exactly what reached them (types, dtypes, values), so that two servers can be compared by what
the model saw and not only by what it predicted.
"""

import datetime
import pathlib
import sys
import typing

import chat_models
import mlflow
import numpy as np
import pandas as pd
import pydantic
from describe import AnswerKinds, Describe, DescribeStream, DescribeWithoutParams, describe
from mlflow.models import ModelSignature
from mlflow.types.schema import (
    AnyType,
    Array,
    ColSpec,
    Map,
    Object,
    ParamSchema,
    ParamSpec,
    Property,
    Schema,
    TensorSpec,
)

HERE = pathlib.Path(__file__).parent
SCALARS = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]


class Message(pydantic.BaseModel):
    role: str
    content: str
    weight: float | None = None


def columns(*specs, params=None):
    return ModelSignature(inputs=Schema(list(specs)), params=params)


def nested_types():
    point = Object([Property("x", "double"), Property("y", "double", required=False)])
    return [
        ColSpec(Array("string"), "tags"),
        ColSpec(Array(Array("long")), "matrix", required=False),
        ColSpec(point, "point"),
        ColSpec(Map("double"), "scores", required=False),
        ColSpec(AnyType(), "anything", required=False),
        ColSpec(Array(point), "points", required=False),
    ]


def all_params():
    return ParamSchema(
        [
            ParamSpec("flag", "boolean", False),
            ParamSpec("count", "integer", 3),
            ParamSpec("large", "long", 2**40),
            ParamSpec("narrow", "float", 0.5),
            ParamSpec("wide", "double", 0.25),
            ParamSpec("text", "string", "a"),
            ParamSpec("when", "datetime", datetime.datetime(2020, 1, 1)),
            ParamSpec("list", "double", [1.0, 2.0], shape=(-1,)),
            ParamSpec("words", "string", ["a"], shape=(-1,)),
            ParamSpec("nothing", "string", None),
            ParamSpec(
                "options",
                Object([Property("depth", "long"), Property("name", "string", required=False)]),
                {"depth": 1},
            ),
        ]
    )


def described():
    """Signatures for `Describe`, by model name."""
    tensor = TensorSpec
    return {
        "no_signature": None,
        "scalars": columns(*[ColSpec(kind, kind) for kind in SCALARS]),
        "optional_scalars": columns(*[ColSpec(kind, kind, required=False) for kind in SCALARS]),
        "doubles": columns(*[ColSpec("double", name) for name in "abcd"]),
        "mixed_numbers": columns(
            ColSpec("long", "n"),
            ColSpec("double", "x"),
            ColSpec("integer", "i"),
            ColSpec("float", "f", required=False),
        ),
        "unnamed_columns": columns(ColSpec("double"), ColSpec("long")),
        "one_string": columns(ColSpec("string")),
        "one_named_string": columns(ColSpec("string", "text")),
        "one_long": columns(ColSpec("long", "n")),
        "binary_and_long": columns(ColSpec("long", "a"), ColSpec("binary", "b")),
        "datetime_and_long": columns(ColSpec("long", "a"), ColSpec("datetime", "b")),
        "question": columns(
            ColSpec("string", "question"),
            ColSpec("string", "context"),
            params=ParamSchema([ParamSpec("max_answer_len", "long", 15)]),
        ),
        "chat_payload": columns(
            ColSpec(
                Array(Object([Property("role", "string"), Property("content", "string")])),
                "messages",
            ),
            params=ParamSchema(
                [ParamSpec("temperature", "double", 1.0), ParamSpec("max_tokens", "long", 10)]
            ),
        ),
        "nested": columns(*nested_types()),
        "one_array": columns(ColSpec(Array("double"), "values")),
        "array_of_times": columns(ColSpec(Array("datetime"), "times")),
        "params": columns(ColSpec("double", "x"), params=all_params()),
        "tensor": ModelSignature(Schema([tensor(np.dtype("float64"), (-1, 3))])),
        "tensor_1d": ModelSignature(Schema([tensor(np.dtype("int64"), (-1,))])),
        "tensor_image": ModelSignature(Schema([tensor(np.dtype("uint8"), (-1, 2, 2))])),
        "tensor_ragged": ModelSignature(Schema([tensor(np.dtype("float32"), (-1, -1, 2))])),
        "tensor_text": ModelSignature(Schema([tensor(np.dtype("str"), (-1,))])),
        "tensors_named": ModelSignature(
            Schema(
                [
                    tensor(np.dtype("float32"), (-1, 2), "left"),
                    tensor(np.dtype("int64"), (-1,), "right"),
                ]
            )
        ),
        "tensor_one_named": ModelSignature(Schema([tensor(np.dtype("float64"), (-1, 2), "x")])),
    }


def type_hinted():
    def numbers(model_input: list[int]) -> list[str]:
        return [describe(item) for item in model_input]

    def messages(model_input: list[Message]) -> list[str]:
        return [describe(item.model_dump()) for item in model_input]

    def times(model_input: list[datetime.datetime]) -> list[str]:
        return [describe(item) for item in model_input]

    def blobs(model_input: list[bytes]) -> list[str]:
        return [describe(item) for item in model_input]

    def records(model_input: list[dict[str, typing.Any]]) -> list[str]:
        return [describe(item) for item in model_input]

    return {
        "hint_numbers": (numbers, [1, 2]),
        "hint_messages": (messages, [Message(role="user", content="hi")]),
        "hint_times": (times, [datetime.datetime(2020, 1, 1)]),
        "hint_blobs": (blobs, [b"abc"]),
        "hint_records": (records, [{"a": 1}]),
    }


def from_example():
    from mlflow.types.type_hints import TypeFromExample

    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: TypeFromExample):
            return [describe(model_input)]

    return {
        "example_list": (Model(), ["a", "b"]),
        "example_dict": (Model(), {"a": 1.5, "b": "text"}),
        "example_records": (Model(), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        "example_frame": (Model(), pd.DataFrame({"a": [1, 2]})),
        "example_scalar": (Model(), "text"),
    }


def function_model(model_input: list[str]) -> list[str]:
    return [item.upper() for item in model_input]


def pyfuncs():
    """Keyword arguments for `mlflow.pyfunc.save_model`, by model name."""
    models = {
        name: {"python_model": Describe(), "signature": signature}
        for name, signature in described().items()
    }
    for name, (function, example) in type_hinted().items():
        models[name] = {"python_model": function, "input_example": example}
    for name, (model, example) in from_example().items():
        models[name] = {"python_model": model, "input_example": example}
    models["function"] = {"python_model": function_model, "input_example": ["a"]}
    models["without_params"] = {
        "python_model": DescribeWithoutParams(),
        "signature": columns(ColSpec("double", "x"), params=all_params()),
    }
    models["answers"] = {"python_model": AnswerKinds()}
    models["stream"] = {"python_model": DescribeStream(), "streamable": True}
    models["from_code"] = {"python_model": str(HERE / "code_model.py"), "model_config": {"k": 2}}
    models["chat_model"] = {"python_model": chat_models.Echo()}
    models["chat_agent"] = {"python_model": chat_models.EchoAgent()}
    models["responses_agent"] = {"python_model": chat_models.EchoResponses()}
    models["artifacts"] = {
        "python_model": chat_models.WithArtifact(),
        "artifacts": {"note": str(HERE / "note.txt")},
    }
    models["code_paths"] = {
        "python_model": chat_models.WithCode(),
        "code_paths": [str(HERE / "extra_code")],
    }
    return models


def tables():
    frame = pd.DataFrame(
        {
            "age": [20, 35, 50, 65, 30, 45],
            "income": [1.5, 2.5, 3.5, 4.5, 2.0, 3.0],
            "city": ["Graz", "Linz", "Wien", "Graz", "Wien", "Linz"],
            "since": pd.to_datetime(
                ["2020-01-01", "2020-06-01", "2021-01-01", "2021-06-01", "2022-01-01", "2022-06-01"]
            ),
        }
    )
    return frame, np.array([0, 1, 0, 1, 0, 1])


def days_since(frame):
    return (frame - pd.Timestamp("2020-01-01")).apply(lambda column: column.dt.days)


def flavors(folder):
    """Models of other flavors; each is a function that saves one."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    frame, labels = tables()
    numbers = frame[["age", "income"]].astype("float64")
    common = {"pip_requirements": ["mlflow"]}
    logistic = LogisticRegression().fit(numbers, labels)
    signature = mlflow.models.infer_signature(numbers, labels)

    def sklearn_plain(path):
        mlflow.sklearn.save_model(
            logistic, path, signature=signature, serialization_format="cloudpickle", **common
        )

    def sklearn_proba(path):
        mlflow.sklearn.save_model(
            logistic,
            path,
            signature=signature,
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
            **common,
        )

    def sklearn_pipeline(path):
        pipeline = make_pipeline(
            make_column_transformer(
                (StandardScaler(), ["age", "income"]),
                (OneHotEncoder(handle_unknown="ignore"), ["city"]),
                (FunctionTransformer(days_since), ["since"]),
            ),
            LogisticRegression(),
        ).fit(frame, labels)
        mlflow.sklearn.save_model(
            pipeline,
            path,
            signature=mlflow.models.infer_signature(frame, labels),
            serialization_format="cloudpickle",
            **common,
        )

    def sklearn_many_outputs(path):
        model = LinearRegression().fit(numbers, numbers * 2)
        mlflow.sklearn.save_model(
            model,
            path,
            signature=mlflow.models.infer_signature(numbers.to_numpy()),
            serialization_format="cloudpickle",
            **common,
        )

    def xgboost(path):
        import xgboost

        model = xgboost.XGBClassifier(n_estimators=3).fit(numbers, labels)
        mlflow.xgboost.save_model(model, path, signature=signature, **common)

    def lightgbm(path):
        import lightgbm

        model = lightgbm.train(
            {"min_data_in_leaf": 1, "verbose": -1}, lightgbm.Dataset(numbers, labels), 3
        )
        mlflow.lightgbm.save_model(model, path, signature=signature, **common)

    def statsmodels(path):
        import statsmodels.api

        model = statsmodels.api.OLS(labels, numbers).fit()
        mlflow.statsmodels.save_model(model, path, signature=signature, **common)

    saving = (
        sklearn_plain,
        sklearn_proba,
        sklearn_pipeline,
        sklearn_many_outputs,
        xgboost,
        lightgbm,
        statsmodels,
    )
    for save in saving:
        path = folder / save.__name__
        if not path.exists():
            save(str(path))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in pyfuncs().items():
        if not (folder / name).exists():
            mlflow.pyfunc.save_model(str(folder / name), pip_requirements=["mlflow"], **arguments)
    flavors(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
