"""ONNX models, read and called as MLflow's onnx flavor does, without MLflow."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pandas as pd

logger = logging.getLogger(__name__)

Settings = Dict[str, Any]

_CPU = "CPUExecutionProvider"
_THREADS = ("inter_op_num_threads", "intra_op_num_threads")


def load_onnx(flavor: Settings, path: Path) -> OnnxModel:
    """The model in the file `path`; ONNX Runtime raises errors of its own.

    :param flavor: the flavor's settings in the MLmodel file: `providers`, and since MLflow 2.10
        `onnx_session_options`.
    """
    import onnxruntime

    options = _session_options(onnxruntime, flavor.get("onnx_session_options") or {})
    providers = _usable_providers(onnxruntime, flavor.get("providers"))
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception:
        if providers == [_CPU]:
            raise
        # Built in, but its driver is missing or another one than it needs.
        logger.warning("ONNX Runtime cannot use %s; it runs on the processor.", providers)
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=[_CPU])
    return OnnxModel(session)


def _session_options(onnxruntime: Any, wanted: Settings) -> Any:
    """ONNX Runtime's options of the session that the model was logged with.

    A value of 0 or null is ONNX Runtime's default, another execution mode than the two is ignored.
    """
    options = onnxruntime.SessionOptions()
    for name in _THREADS:
        if wanted.get(name):
            setattr(options, name, wanted[name])
    if wanted.get("execution_mode"):
        modes = onnxruntime.ExecutionMode
        options.execution_mode = {
            "SEQUENTIAL": modes.ORT_SEQUENTIAL, "PARALLEL": modes.ORT_PARALLEL,
        }.get(wanted["execution_mode"].upper(), options.execution_mode)  # fmt: skip
    if wanted.get("graph_optimization_level"):
        level = onnxruntime.GraphOptimizationLevel(wanted["graph_optimization_level"])
        options.graph_optimization_level = level
    for key, value in (wanted.get("extra_session_config") or {}).items():
        options.add_session_config_entry(key, value)
    return options


def _usable_providers(onnxruntime: Any, wanted: Any) -> List[Any]:
    """The execution providers that the model was logged with and this machine has."""
    if isinstance(wanted, str):
        wanted = [wanted]
    # A provider with options is a list of two in YAML; onnxruntime takes tuples only.
    wanted = [
        tuple(each) if isinstance(each, list) else each
        for each in wanted or ["CUDAExecutionProvider", _CPU]
    ]
    available = onnxruntime.get_available_providers()
    return [each for each in wanted if _provider_name(each) in available] or [_CPU]


def _provider_name(provider: Any) -> Any:
    return provider[0] if isinstance(provider, tuple) and provider else provider


class OnnxModel:
    """An ONNX Runtime session that takes tables, arrays and dicts of arrays.

    A table gives a table with a column an output, everything else a dict of arrays.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._types = {each.name: each.type for each in session.get_inputs()}
        self._outputs = [each.name for each in session.get_outputs()]

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> Any:  # noqa: ARG002
        """The outputs for `data`; the session raises errors of its own.

        :raises TypeError: it is neither a table, nor an array, nor a dict of arrays.
        :raises ValueError: one array for a model with several inputs.
        """
        answers = self._run(self._feed(data))
        if not isinstance(data, pd.DataFrame):
            return dict(zip(self._outputs, answers))
        return self._table(answers)

    @property
    def has_one_input(self) -> bool:
        """Whether a whole table is its input, and not a column each."""
        return len(self._types) == 1

    def predict_values(self, values: np.ndarray) -> pd.DataFrame:
        """What `predict` answers to a table of these values, with one input.

        :param values: of shape (rows, columns).
        """
        return self._table(self._run({next(iter(self._types)): values}))

    def _run(self, feed: Dict[str, Any]) -> List[Any]:
        cast = {
            name: values.astype(np.float32)
            if self._types.get(name) == "tensor(float)" and values.dtype == np.float64
            else values
            for name, values in feed.items()
        }
        answers: List[Any] = self._session.run(self._outputs, cast)
        return answers

    def _table(self, answers: List[Any]) -> pd.DataFrame:
        # An output can be a list (of dicts, for the probabilities of a classifier).
        columns = {name: np.asarray(each) for name, each in zip(self._outputs, answers)}
        return pd.DataFrame({name: each.reshape(-1) for name, each in columns.items()})

    def _feed(self, data: Any) -> Dict[str, Any]:
        if isinstance(data, dict):
            return data
        if isinstance(data, pd.DataFrame) and len(self._types) > 1:
            return {name: data[name].values for name in self._types}
        if not isinstance(data, (pd.DataFrame, np.ndarray)):
            raise TypeError("Expected a table or arrays, got {}.".format(type(data).__name__))
        if len(self._types) > 1:
            raise ValueError(
                "One array for a model with the inputs {}: send them by name.".format(
                    ", ".join(self._types)
                )
            )
        values = data.values if isinstance(data, pd.DataFrame) else data
        return {next(iter(self._types)): values}
