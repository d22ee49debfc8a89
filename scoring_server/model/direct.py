"""Predictions from arrays, where a flavor's prediction is a function of the values alone.

A table costs more than most models take for a few rows, and the libraries make an array of it
first. What is here says how each library is called with that array, so that the answer is what it
gives for the table. Nobody is answered by it on trust: `scoring.direct_lane` compares both ways.
"""

from __future__ import annotations

import json
import warnings
from typing import Any, Callable, Dict, Optional, Sequence

import numpy as np

from .loading import LoadedModel
from .onnx import OnnxModel
from .pytorch import PyTorchModel


class NotDirect(Exception):
    """These values are for the ordinary way: the library treats them otherwise in a table."""


# An array of shape (rows, columns) to the model's answer; raises `NotDirect` as well.
DirectCall = Callable[[np.ndarray], Any]

# Packages whose estimators see the values only.
_PACKAGES = ("sklearn", "numpy", "scipy", "xgboost", "lightgbm", "catboost", "builtins")
# Those of their classes that look columns up by name, or call what they are given.
_BY_NAME = ("ColumnTransformer", "FunctionTransformer")
# A classifier's objective and whether there are more than two classes, where its classes are plain.
_XGBOOST_CLASSES = (("binary:logistic", False), ("multi:softprob", True))


def direct_call(model: LoadedModel, names: Sequence[str], *, trust: bool) -> Optional[DirectCall]:
    """How to predict from an array with the columns `names`; None where there is no such way.

    :param trust: have estimators of any class tried, not only those of known packages.
    """
    found = model.implementation
    package = type(found).__module__.partition(".")[0]
    if isinstance(found, OnnxModel):
        # Of several inputs each has its column's own type.
        return found.predict_values if found.has_one_input else None
    if isinstance(found, PyTorchModel):
        return found.predict_values
    if package == "catboost":
        return _catboost(model, names)
    if package == "lightgbm" and type(found).__name__ == "Booster":
        return _lightgbm_booster(found)
    booster = getattr(found, "xgboost_model", None)
    if booster is not None:
        return _xgboost(booster, names)
    if not hasattr(found, "get_params") or not _has_names(found, names):
        return None
    if not trust and not _sees_values_only(found):
        return None
    # It is fitted with names, and says at each prediction that an array has none.
    warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
    if package == "lightgbm":
        return _lightgbm(found) or model.predict
    return model.predict


def _has_names(estimator: Any, names: Sequence[str]) -> bool:
    """Whether it was fitted with these columns in this order, or with columns without names."""
    fitted = getattr(estimator, "feature_names_in_", None)
    return fitted is None or list(fitted) == list(names)


def _sees_values_only(estimator: Any) -> bool:
    """Whether all that an estimator is made of is from packages that are known to."""
    return all(_is_known(part) for part in [estimator, *estimator.get_params(deep=True).values()])


def _is_known(part: Any) -> bool:
    if isinstance(part, (list, tuple)):
        return all(map(_is_known, part))
    if isinstance(part, dict):
        return all(map(_is_known, part.values()))
    kind = type(part)
    if kind.__name__ == "function" or kind.__name__ in _BY_NAME:
        return False
    return kind.__module__.partition(".")[0] in _PACKAGES


# --- XGBoost -------------------------------------------------------------------------------------


def _xgboost(model: Any, names: Sequence[str]) -> Optional[DirectCall]:
    """In place: without the matrix that the library makes of a table."""
    booster = model if hasattr(model, "inplace_predict") else model.get_booster()
    if not hasattr(booster, "inplace_predict") or not _xgboost_takes(booster, names):
        return None
    kind = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"]
    # Trees that were dropped in training are added up in another order, and other bits, in place.
    if kind == "gblinear" or (kind == "dart" and booster is model):
        return None
    if booster is model:
        return _xgboost_booster(booster)
    usable = getattr(model, "_can_use_inplace_predict", None)
    is_classifier = hasattr(model, "n_classes_")
    if usable is None or not usable() or hasattr(model, "_le"):
        return model.predict
    if is_classifier and (model.objective, model.n_classes_ > 2) not in _XGBOOST_CLASSES:
        return model.predict
    span, missing = model._get_iteration_range(None), model.missing

    def call(values: np.ndarray) -> Any:
        answer = booster.inplace_predict(
            values, iteration_range=span, missing=missing, validate_features=False
        )
        return _xgboost_classes(answer) if is_classifier else answer

    return call


def _xgboost_booster(booster: Any) -> DirectCall:
    def call(values: np.ndarray) -> Any:
        # A matrix is refused for what is infinite as a 32-bit number.
        with np.errstate(over="ignore"):
            if np.isinf(values.astype(np.float32, copy=False)).any():
                raise NotDirect
        return booster.inplace_predict(values, validate_features=False)

    return call


def _xgboost_takes(booster: Any, names: Sequence[str]) -> bool:
    """Whether a booster has these features, none of them a category."""
    fitted, kinds = booster.feature_names, booster.feature_types
    if fitted is not None and list(fitted) != list(names):
        return False
    return bool(booster.num_features() == len(names)) and "c" not in (kinds or ())


def _xgboost_classes(chances: np.ndarray) -> np.ndarray:
    """The classes as XGBClassifier.predict has them: the likeliest, or 1 above one half."""
    if chances.ndim > 1:
        return np.argmax(chances, axis=1)
    classes = np.repeat(0, chances.shape[0])
    classes[chances > 0.5] = 1
    return classes


# --- LightGBM ------------------------------------------------------------------------------------


def _lightgbm_booster(booster: Any, **settings: Any) -> Optional[DirectCall]:
    # Columns of categories are known by what a table says of them.
    if booster.pandas_categorical:
        return None

    def call(values: np.ndarray) -> Any:
        # Of a table with whole numbers only the library makes numbers of these types.
        if values.dtype.kind != "f":
            values = values.astype(np.result_type(values.dtype, np.float32))
        return booster.predict(values, **settings)

    return call


def _lightgbm(model: Any) -> Optional[DirectCall]:
    """Past the estimator to its booster, whose answers a classifier turns into classes."""
    name = type(model).__name__
    if name not in ("LGBMRegressor", "LGBMRanker", "LGBMClassifier") or callable(model.objective_):
        return None
    jobs = getattr(model, "_process_n_jobs", None)
    settings: Dict[str, Any] = {"num_threads": jobs(model.n_jobs)} if jobs is not None else {}
    raw = _lightgbm_booster(model.booster_, **settings)
    if raw is None or name != "LGBMClassifier":
        return raw
    classes = model.classes_

    def call(values: np.ndarray) -> Any:
        chances = raw(values)
        if chances.ndim == 1:
            chances = np.vstack((1.0 - chances, chances)).transpose()
        return classes[np.argmax(chances, axis=1)]

    return call


# --- others --------------------------------------------------------------------------------------


def _catboost(model: LoadedModel, names: Sequence[str]) -> Optional[DirectCall]:
    found = model.implementation
    if list(found.feature_names_ or ()) != list(names) or found.get_cat_feature_indices():
        return None
    return model.predict
