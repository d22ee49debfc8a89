"""Log the models of the Open Inference Protocol's suite with the real MLflow of this environment.

    python log_v2_models.py FOLDER

Makes one folder a model below FOLDER. `describe-*` answer with a text that says what reached them,
`echo-*` with what reached them, `answers` with the value whose name was sent.
"""

import pathlib
import sys

import mlflow
import numpy as np
from describe import answers, describe
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

SCALARS = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]


class Describe(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [describe(model_input), describe(params)]


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


class Hinted(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return [describe(model_input)]


class Answers(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return answers()[model_input["kind"].iloc[0]]


def signatures():
    # MLServer cannot load a model whose signature has inputs and no outputs.
    outputs = Schema([ColSpec("string")])

    def signature(*specs, params=None):
        return ModelSignature(Schema(list(specs)), outputs, params)

    params = [ParamSpec("factor", "double", 1.5), ParamSpec("names", "string", ["a"], (-1,))]
    return {
        "columns": signature(
            *(ColSpec(kind, kind) for kind in SCALARS), params=ParamSchema(params)
        ),
        "numbers": signature(
            ColSpec("double", "a"), ColSpec("double", "b"), ColSpec("long", "c", required=False)
        ),
        "nameless": signature(ColSpec("double"), ColSpec("long")),
        "nested": signature(ColSpec(Array("double"), "list"), ColSpec("string", "text")),
        "tensors": signature(
            TensorSpec(np.dtype("float32"), (-1, 2), "x"),
            TensorSpec(np.dtype("int64"), (-1,), "y"),
        ),
        "texts": signature(TensorSpec(np.dtype(str), (-1,), "t")),
        "tensor": signature(TensorSpec(np.dtype("float64"), (-1, 2))),
        "free": None,
    }


def main(folder):
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    for name, signature in signatures().items():
        for kind, model in (("describe", Describe), ("echo", Echo)):
            mlflow.pyfunc.save_model(
                str(partial / f"{kind}-{name}"),
                python_model=model(),
                signature=signature,
                pip_requirements=[],
            )
    mlflow.pyfunc.save_model(str(partial / "hinted"), python_model=Hinted(), pip_requirements=[])
    mlflow.pyfunc.save_model(
        str(partial / "answers"),
        python_model=Answers(),
        pip_requirements=[],
        signature=ModelSignature(Schema([ColSpec("string", "kind")]), Schema([ColSpec("string")])),
    )
    partial.rename(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
