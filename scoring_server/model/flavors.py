"""Loaders for flavors whose files need no MLflow to be read.

Importing MLflow costs seconds at every start, and these flavors use it for nothing but reading a
file and calling `predict`. What is read and called is what each flavor's `_load_pyfunc` in
MLflow reads and calls; the tests compare both. A flavor that is not here, or a file that is laid
out in another way, is left to MLflow.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import pickle
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

import pandas as pd

from ..config import ModelConfig
from .code_permission import check_pickle_allowed
from .onnx import load_onnx
from .pytorch import load_pytorch

logger = logging.getLogger(__name__)

Settings = Dict[str, Any]


def load_directly(
    model: ModelConfig,
    model_config: Optional[Settings],
    on_imported: Callable[[], None] = lambda: None,
) -> Optional[Any]:
    """The model, with a `predict` method, or None where MLflow has to load it.

    :param model_config: what MLflow would give its loader beside the path.
    :param on_imported: called once most of what the model needs has been imported, before it is
        read.
    :raises CodeRefused: it is a file that must not be read.
    :raises ImportError: the flavor's library is missing; what it raises goes through as well.
    """
    pyfunc = model.flavors["python_function"]
    package, _, name = str(pyfunc.get("loader_module")).partition(".")
    if package != "mlflow" or name not in model.flavors:
        return None
    path = Path(model.path, pyfunc.get("data") or "")
    if name == "pytorch":
        return load_pytorch(model, path, model_config)
    load = _LOADERS.get(name)
    if load is None or model_config:
        return None
    # Where one is missing the loader says so, or does without it.
    with contextlib.suppress(ImportError):
        importlib.import_module(_LIBRARIES[name])
    _import_for_tables()
    on_imported()
    return load(model.flavors[name], pyfunc, path)


def _import_for_tables() -> None:
    """Import now, for all workers, what the first DataFrame would have each import by itself.

    scikit-learn looks at tables through narwhals since 1.9, which imports its parts when used.
    """
    narwhals = sys.modules.get("narwhals.stable.v2")
    if narwhals is not None:
        list(narwhals.from_native(pd.DataFrame()).columns)


def _load_sklearn(flavor: Settings, pyfunc: Settings, path: Path) -> Optional[Any]:
    if not path.is_file():
        if "model_path" not in pyfunc:
            return None
        path = path / pyfunc["model_path"]
    return _read(path, flavor.get("serialization_format", "pickle"), flavor)


def _load_lightgbm(flavor: Settings, _: Settings, path: Path) -> Optional[Any]:
    file = _file_of(flavor, path)
    if file is None:
        return None
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        import lightgbm

        return lightgbm.Booster(model_file=file)
    return _read(Path(file), flavor.get("serialization_format", "cloudpickle"), flavor)


def _load_xgboost(flavor: Settings, _: Settings, path: Path) -> Optional[Any]:
    file = _file_of(flavor, path)
    if file is None:
        return None
    import xgboost

    module, _, name = flavor.get("model_class", "xgboost.core.Booster").rpartition(".")
    model = getattr(importlib.import_module(module), name)()
    model.load_model(file)
    if isinstance(model, xgboost.Booster):
        return _XGBoostModel(model, lambda data: (xgboost.DMatrix(data),))
    return _XGBoostModel(model, lambda data: (data,))


def _load_catboost(flavor: Settings, _: Settings, path: Path) -> Optional[Any]:
    kinds = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")
    if flavor.get("model_type") not in kinds or not path.is_file():
        return None
    import catboost

    model = getattr(catboost, flavor["model_type"])()
    model.load_model(str(path.resolve()), flavor.get("save_format"))
    return model


def _load_onnx(flavor: Settings, _: Settings, path: Path) -> Optional[Any]:
    return load_onnx(flavor, path) if path.is_file() else None


def _load_statsmodels(_flavor: Settings, _: Settings, path: Path) -> Optional[Any]:
    if not path.is_file():
        return None
    check_pickle_allowed(path)
    results = importlib.import_module("statsmodels.iolib.api").load_pickle(str(path))
    time_series = importlib.import_module("statsmodels.tsa.base.tsa_model").TimeSeriesModel
    return _TimeSeriesModel(results) if isinstance(results.model, time_series) else results


_LOADERS: Dict[str, Callable[[Settings, Settings, Path], Optional[Any]]] = {
    "sklearn": _load_sklearn,
    "lightgbm": _load_lightgbm,
    "xgboost": _load_xgboost,
    "catboost": _load_catboost,
    "onnx": _load_onnx,
    "statsmodels": _load_statsmodels,
}

# What reading a model of a flavor imports most of.
_LIBRARIES = {
    "sklearn": "sklearn.base",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "catboost": "catboost",
    "onnx": "onnxruntime",
    "statsmodels": "statsmodels.iolib.api",
}


def _file_of(flavor: Settings, path: Path) -> Optional[str]:
    """The model's file: `path` itself (MLflow before 1.22), or the flavor's `data` below it."""
    file = path if path.is_file() else path / (flavor.get("data") or "")
    return str(file) if file.is_file() else None


def _read(path: Path, serialization_format: str, flavor: Settings) -> Optional[Any]:
    """Read a pickle, cloudpickle or skops file; None for a format of another name."""
    check_pickle_allowed(path)
    if serialization_format == "skops":
        return importlib.import_module("skops.io").load(
            str(path), trusted=flavor.get("skops_trusted_types")
        )
    if serialization_format not in ("pickle", "cloudpickle"):
        return None
    # cloudpickle's own load is pickle's: what it wrote imports it where it needs it.
    with path.open("rb") as file:
        return pickle.load(file)


class _XGBoostModel:
    """An XGBoost model that takes a DataFrame, and of the params those that it knows."""

    def __init__(self, model: Any, convert: Callable[[Any], Tuple[Any, ...]]) -> None:
        self.xgboost_model = model
        self._predict = model.predict
        self._convert = convert
        parameters = inspect.signature(model.predict).parameters.values()
        self._takes_all = any(
            each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters
        )
        self._known = {each.name for each in parameters}
        self._checks_names = {"validate_features": True} if self.knows("validate_features") else {}

    def knows(self, name: str) -> bool:
        return self._takes_all or name in self._known

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> Any:
        known = {name: value for name, value in (params or {}).items() if self.knows(name)}
        unknown = sorted(set(params or ()) - set(known))
        if unknown:
            logger.warning("Params that the model does not take are ignored: %s.", unknown)
        return self._predict(*self._convert(data), **dict(self._checks_names, **known))


class _TimeSeriesModel:
    """A statsmodels time series: one row with columns `start` and `end` asks for that span."""

    def __init__(self, results: Any) -> None:
        self._results = results

    def predict(self, data: Any) -> Any:
        if data.shape[0] != 1 or not {"start", "end"} <= set(data.columns):
            raise ValueError(
                "A time series model takes exactly one row with the columns start and end."
            )
        return self._results.predict(start=data["start"][0], end=data["end"][0])
