"""PyTorch models, read and called as MLflow's pytorch flavor does, without MLflow.

The folder that the flavor's `data` names has either `model.pth`, written by `torch.save` or as a
TorchScript archive, and the name of its pickle module in `pickle_module_info.txt`; or, since
MLflow 3.10, `model.pt2`, written by `torch.export.save`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
import pandas as pd

from ..config import ModelConfig
from .code_permission import check_pickle_allowed, pickles_allowed

DEVICE = "MLFLOW_DEFAULT_PREDICTION_DEVICE"


def load_pytorch(
    model: ModelConfig, path: Path, model_config: Optional[Dict[str, Any]]
) -> Optional[PyTorchModel]:
    """The model below (or in) `path`, or None where MLflow has to load it.

    :param model_config: can name the `device`.
    :raises CodeRefused: it is a file that must not be read.
    :raises ImportError: PyTorch, or the module that pickled the file, is missing.
    :raises ValueError: an exported model is on another device.
    """
    if _drops_params(model):
        return None
    file = path if path.is_file() else path / "model.pth"
    if not file.is_file():
        exported = path / "model.pt2"
        # It can have pickles in it; where those are refused MLflow looks for them before it reads.
        if not exported.is_file() or not pickles_allowed():
            return None
        return _load_exported(exported, _device(model_config))
    check_pickle_allowed(file)
    module = _load_pickled(file, None if file == path else path / "pickle_module_info.txt")
    if module is None or _is_forecasting(module):
        return None
    module.eval()
    device = _device(model_config)
    module.to(device=device)
    return PyTorchModel(module, device)


def _load_pickled(file: Path, info: Optional[Path]) -> Optional[Any]:
    """What `torch.save` or `torch.jit.save` wrote, None for PyTorch before 1.5.

    The file `info` has the name of the module that pickled it.
    """
    import torch

    version = _release(torch.__version__)
    # It does not see by itself that a file is a TorchScript archive.
    if version < (1, 5):
        return None
    # The default is True since, and reads no module.
    arguments: Dict[str, Any] = {"weights_only": False} if version >= (2, 6) else {}
    if info is not None:
        arguments["pickle_module"] = _pickle_module(info.read_text(encoding="utf-8").strip())
    return torch.load(str(file), **arguments)


def _pickle_module(name: str) -> Any:
    # MLflow's own is cloudpickle, which reads with pickle.
    return pickle if name == "mlflow.pytorch.pickle_module" else importlib.import_module(name)


def _load_exported(path: Path, device: str) -> PyTorchModel:
    import torch

    module = importlib.import_module("torch.export").load(str(path)).module()
    tensors = itertools.chain(module.parameters(), module.buffers())
    others = {each.device.type for each in tensors} - {torch.device(device).type}
    if others:
        raise ValueError(
            "The exported model is on {} and cannot be moved to {}: set {}, or export it from "
            "there.".format(", ".join(sorted(others)), device, DEVICE)
        )
    return PyTorchModel(module, device)


def _device(model_config: Optional[Dict[str, Any]]) -> str:
    import torch

    found: str = (
        (model_config or {}).get("device")
        or os.environ.get(DEVICE)
        or ("cuda" if torch.cuda.is_available() else "cpu")
    )
    return found


def _is_forecasting(module: Any) -> bool:
    """Whether it is a model of pytorch_forecasting: those take tables, and MLflow knows them."""
    return any(
        each.__module__.partition(".")[0] == "pytorch_forecasting" for each in type(module).__mro__
    )


def _drops_params(model: ModelConfig) -> bool:
    """Whether the MLflow that logged it (before 3.1) gives a module none of its params."""
    has_params = model.signature is not None and bool(model.signature.params)
    return has_params and _release(model.mlflow_version or "0") < (3, 1)


def _release(version: str) -> Tuple[int, ...]:
    """Major and minor number: (2, 13) for "2.13.0+cpu"."""
    return tuple(int(part) for part in version.split(".")[:2])


class PyTorchModel:
    """A PyTorch module that takes a table, as 32-bit floats, or one array as it is.

    A table gives a table with the same index, an array an array. Params go to the module by name.
    """

    def __init__(self, module: Any, device: str) -> None:
        self._module = module
        self._device = device

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> Any:
        """The module's one output; the module raises errors of its own.

        :raises TypeError: the input is neither a table nor an array, or the output no tensor.
        :raises ValueError: the params name a device.
        """
        if params and "device" in params:
            raise ValueError("The device is chosen as the model is loaded: set {}.".format(DEVICE))
        is_table = isinstance(data, pd.DataFrame)
        if not is_table and not isinstance(data, np.ndarray):
            raise TypeError(
                "A PyTorch model takes a table or one array, got {}.".format(type(data).__name__)
            )
        array = self._run(data.to_numpy(dtype=np.float32) if is_table else data, params)
        if not is_table:
            return array
        table = pd.DataFrame(array)
        table.index = data.index
        return table

    def predict_values(self, values: np.ndarray) -> pd.DataFrame:
        """What `predict` answers to a table of these values, of shape (rows, columns)."""
        return pd.DataFrame(self._run(values.astype(np.float32), None))

    def _run(self, values: np.ndarray, params: Optional[Dict[str, Any]]) -> np.ndarray:
        import torch

        with torch.no_grad():
            answer = self._module(torch.from_numpy(values).to(self._device), **(params or {}))
        if not isinstance(answer, torch.Tensor):
            raise TypeError(
                "The model has to answer one tensor, not {}.".format(type(answer).__name__)
            )
        array: np.ndarray = answer.to("cpu").numpy()
        return array
