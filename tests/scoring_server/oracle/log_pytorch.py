"""Log PyTorch models that the scoring server reads without MLflow, as `log_flavors.py` does.

python log_pytorch.py FOLDER
"""

import pickle
import sys

import mlflow
import numpy as np
import torch
from log_flavors import NUMBERS, QUIET, change, log
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

FLOATS = NUMBERS.head(7).to_numpy(np.float32)
COLUMNS = ModelSignature(inputs=Schema([ColSpec("double", name) for name in NUMBERS]))
TENSOR = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3))]))
NAMED = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3), "table")]))


def parameter(name, kind, default):
    params = ParamSchema([ParamSpec(name, kind, default)])
    return ModelSignature(inputs=COLUMNS.inputs, params=params)


def linear():
    torch.manual_seed(0)
    # Dropout changes the answer unless the model is told that it is not being trained.
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))


class Scaled(torch.nn.Module):
    """Defined in the script itself, so that it is in the file by value."""

    def __init__(self):
        super().__init__()
        self.linear = linear()

    def forward(self, table, scale=1.0):
        return self.linear(table) * scale


class Single(Scaled):
    """Answers one number a row, without a second dimension."""

    def forward(self, table):
        return self.linear(table)[:, 0]


class Two(Scaled):
    """Answers two tensors."""

    def forward(self, table):
        return self.linear(table), table


class Tasks(Scaled):
    """Has PyTorch start threads for it, once it is TorchScript."""

    def forward(self, table):
        return torch.jit.wait(torch.jit.fork(self.linear, table))


def save(model, signature=None, **options):
    """Save in MLflow's older format, a pickle or a TorchScript archive."""
    options = {"serialization_format": "pickle", **QUIET, **options}
    return lambda path: mlflow.pytorch.save_model(model, path, signature=signature, **options)


def without_config(path):
    """As MLflow before 2.9 logged it, with extra files as MLflow 1 and 2 had for TorchServe."""
    save(Scaled(), COLUMNS, extra_files=[__file__])(path)
    change(path, lambda flavors: flavors["python_function"].pop("config"))


def single_file(path):
    """The flavor's data are the file, not a folder; nothing says which module pickled it."""
    save(linear(), COLUMNS, pickle_module=pickle)(path)
    change(path, lambda flavors: flavors["python_function"].update(data="data/model.pth"))


MODELS = {
    "columns": save(Scaled(), COLUMNS),
    "columns_single": save(Single(), COLUMNS),
    "tensor": save(Scaled(), TENSOR),
    "tensor_pickle": save(linear(), TENSOR, pickle_module=pickle),
    "table": save(linear()),
    "script": save(torch.jit.script(linear()), COLUMNS),
    "script_tensor": save(torch.jit.trace(linear().eval(), torch.from_numpy(FLOATS)), TENSOR),
    "script_with_tasks": save(torch.jit.script(Tasks()), COLUMNS),
    "exported": save(linear().eval(), TENSOR, serialization_format="pt2", input_example=FLOATS),
    "params": save(Scaled(), parameter("scale", "float", 1.0)),
    "params_default": save(Scaled(), parameter("scale", "float", 0.5)),
    "without_config": without_config,
    "single_file": single_file,
    # What a module cannot answer.
    "wrong_doubles": save(linear()),
    "wrong_named": save(linear(), NAMED),
    "wrong_outputs": save(Two(), COLUMNS),
    "wrong_param": save(linear(), parameter("scale", "float", 1.0)),
    "wrong_device": save(Scaled(), parameter("device", "string", "cpu")),
    "wrong_shape": save(torch.nn.Linear(4, 1)),
}


def request(name):
    columns = {"dataframe_split": NUMBERS.head(7).to_dict(orient="split", index=False)}
    if name == "params":
        return {**columns, "params": {"scale": 2.0}}
    if name == "wrong_named":
        return {"inputs": {"table": FLOATS.tolist()}}
    if name in ("tensor", "tensor_pickle", "script_tensor", "exported", "wrong_doubles"):
        return {"inputs": FLOATS.tolist()}
    return columns


if __name__ == "__main__":
    log(sys.argv[1], MODELS, request)
