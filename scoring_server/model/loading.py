"""Load a model by MLflow's python_function conventions, without MLflow.

Flavors whose files can be read without it are read by `flavors`. For all others:

The flavor's configuration in `MLmodel` names a `loader_module`; its `_load_pyfunc` gets the path
of the flavor's `data` (else the model folder) and, where the flavor has one, the `model_config`.
A `code` folder goes to the front of `sys.path` first. What comes back has a `predict` method
(`predict_fn` names another one). See "Python Function Model Interface" in MLflow's documentation.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from ..config import CRATE, FLAVOR, ModelConfig, ServerConfig
from ..errors import ModelLoadError, reason
from .code_permission import CodeRefused, check_code_allowed, warn_of_deprecated
from .flavors import load_directly

logger = logging.getLogger(__name__)

# Modules whose distribution has another name, among those that models need most.
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "google": "protobuf",
    "pkg_resources": "setuptools<80",
    "sentence_transformers": "sentence-transformers",
    "dateutil": "python-dateutil",
    "bs4": "beautifulsoup4",
}


class LoadedModel:
    """A loaded model: `predict`, and `predict_stream` where the model can stream (else None).

    `close` ends the process that it runs in, if it has one.
    """

    def __init__(
        self,
        implementation: Any,
        predict: Callable[..., Any],
        predict_stream: Optional[Callable[..., Any]] = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.implementation = implementation
        self.close = close
        self._predict = predict
        self.supports_params = takes_params(predict)
        self.predict_stream: Optional[Callable[..., Any]] = None
        if predict_stream is not None:
            self.predict_stream = _with_optional_params(predict_stream)

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> Any:
        """The model's answer to data that the signature has been applied to.

        :param params: dropped where the model's method takes none, as in MLflow.
        """
        if self.supports_params:
            return self._predict(data, params=params)
        return self._predict(data)


def takes_params(function: Callable[..., Any]) -> bool:
    """Whether a predict method has a parameter of its own called `params`."""
    parameter = inspect.signature(function).parameters.get("params")
    return parameter is not None and parameter.kind is not inspect.Parameter.VAR_KEYWORD


def _with_optional_params(function: Callable[..., Any]) -> Callable[..., Any]:
    supports_params = takes_params(function)

    def call(data: Any, params: Optional[Dict[str, Any]] = None) -> Any:
        return function(data, params=params) if supports_params else function(data)

    return call


def load_model(config: ServerConfig, on_imported: Callable[[], None] = lambda: None) -> LoadedModel:
    """Load the model that the configuration names.

    :param on_imported: called between the import of the flavor's library and the reading of the
        model; not for every flavor.
    :raises ModelLoadError: it cannot be loaded.
    """
    model = config.model
    try:
        check_code_allowed(os.environ)
    except CodeRefused as error:
        raise ModelLoadError(str(error), error.hint) from error
    warn_of_deprecated()
    if model.flavor == CRATE:
        from .r_crate.crate import RCrate

        crate = RCrate(config)
        return LoadedModel(crate, crate.predict, close=crate.close)
    flavor = python_function_flavor(model)
    # MLflow sets this while serving; models with type hints read times and bytes from text then.
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    add_code_to_path(model.path, flavor)
    try:
        implementation = None
        if config.server.loader == "auto":
            implementation = load_directly(model, effective_model_config(flavor), on_imported)
        if implementation is None:
            implementation = _load_pyfunc(model, flavor)
    except ModelLoadError:
        raise
    except CodeRefused as error:
        raise ModelLoadError(str(error), error.hint) from error
    except ImportError as error:
        raise import_error(error, model.path) from error
    except (Exception, SystemExit) as error:
        raise ModelLoadError(
            "The model's loader {} raised {}: {}.".format(
                flavor["loader_module"], type(error).__name__, _one_line(reason(error))
            ),
            "The traceback is in the log; --debug shows it.",
        ) from error
    return _loaded(implementation, flavor)


def _load_pyfunc(model: ModelConfig, flavor: Dict[str, Any]) -> Any:
    """What the flavor's own loader makes of the model's files."""
    data_path = str(Path(model.path, flavor["data"])) if "data" in flavor else model.path
    model_config = effective_model_config(flavor)
    arguments = (data_path, model_config) if model_config else (data_path,)
    return importlib.import_module(flavor["loader_module"])._load_pyfunc(*arguments)


def _loaded(implementation: Any, flavor: Dict[str, Any]) -> LoadedModel:
    predict = getattr(implementation, flavor.get("predict_fn") or "predict", None)
    if predict is None:
        raise ModelLoadError(
            "The loaded model ({}) has no method {!r}.".format(
                type(implementation).__name__, flavor.get("predict_fn") or "predict"
            )
        )
    stream = None
    if flavor.get("streamable"):
        stream = getattr(implementation, flavor.get("predict_stream_fn") or "predict_stream", None)
    return LoadedModel(implementation, predict, stream)


def python_function_flavor(model: ModelConfig) -> Dict[str, Any]:
    """The model's python_function flavor.

    :raises ModelLoadError: there is none.
    """
    flavor = model.flavors.get(FLAVOR)
    if not flavor or not flavor.get("loader_module"):
        raise ModelLoadError(
            "The model has no {} flavor (its flavors: {}).".format(
                FLAVOR, ", ".join(sorted(model.flavors)) or "none"
            ),
            "Only models with a {} flavor can be served.".format(FLAVOR),
            stage="config",
        )
    return flavor


def add_code_to_path(model_path: str, flavor: Dict[str, Any]) -> None:
    """Put the code that was logged with the model at the front of `sys.path`."""
    if flavor.get("code"):
        code = str(Path(model_path, flavor["code"]))
        if code not in sys.path:
            sys.path.insert(0, code)


def effective_model_config(flavor: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """The flavor's `model_config` with the overrides of SERVING_MODEL_CONFIG (a JSON object).

    Only keys that the model was logged with can be overridden, as in MLflow.
    """
    logged = flavor.get("config")
    overrides: Dict[str, Any] = {}
    for variable in ("MLFLOW_PYFUNC_INFERENCE_CONFIG", "SERVING_MODEL_CONFIG"):
        if os.environ.get(variable):
            try:
                overrides.update(json.loads(os.environ[variable]))
            except (ValueError, TypeError) as error:
                raise ModelLoadError(
                    "{} is not a JSON object: {}.".format(variable, error), stage="config"
                ) from error
    if not logged:
        return logged
    unknown = sorted(set(overrides) - set(logged))
    if unknown:
        logger.warning(
            "Model configuration that was not logged with the model is ignored: %s.", unknown
        )
    return {key: overrides.get(key, value) for key, value in logged.items()}


def import_error(error: ImportError, model_path: str) -> ModelLoadError:
    """Say which package is missing and the line that installs it."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not module:
        return ModelLoadError(
            "The model's code cannot be imported: {}.".format(_one_line(reason(error))),
            stage="import",
        )
    distribution = _DISTRIBUTIONS.get(module, module)
    requirement = _logged_requirement(model_path, distribution) or distribution
    return ModelLoadError(
        "The model needs the package {} (module {}), which this environment lacks.".format(
            re.split(r"[<>=!~;\[ ]", requirement)[0], error.name
        ),
        "Install it: {} -m pip install '{}'".format(sys.executable, requirement),
        stage="import",
    )


def _logged_requirement(model_path: str, distribution: str) -> Optional[str]:
    """The line of the model's requirements.txt for a distribution, or None."""
    wanted = re.sub(r"[-_.]+", "-", re.split(r"[<>=]", distribution)[0]).lower()
    try:
        text = Path(model_path, "requirements.txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    for line in (line.split("#")[0].strip() for line in text.splitlines()):
        name = re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ @]", line)[0]).lower()
        if name == wanted:
            return line
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
