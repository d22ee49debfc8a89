"""Inference parameters: checked against the signature's `params`, defaults filled in.

The conversions are those of `mlflow.models.utils._enforce_param_datatype`: integers may widen and
become floats, anything that numpy reads as a time becomes a datetime, all else must match.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, Dict, Optional, Sequence

import numpy as np

from ..errors import ScoringError, quote, schema_error, type_name
from .nested import compile_type
from .schema import BOOLEAN, DATETIME, DOUBLE, FLOAT, INTEGER, LONG, DataType, Param

logger = logging.getLogger(__name__)

_WIDENING = {
    LONG: (INTEGER,),
    FLOAT: (INTEGER, LONG),
    DOUBLE: (INTEGER, LONG, FLOAT),
}


class Params:
    """The parameters a model takes; call `enforce` with what a request brought."""

    def __init__(self, specs: Optional[Sequence[Param]]) -> None:
        self.specs = None if specs is None else tuple(specs)
        self.names = frozenset(spec.name for spec in specs or ())
        self._defaults = {spec.name: _validate(spec.default, spec) for spec in specs or ()}

    def enforce(self, sent: Any) -> Optional[Dict[str, Any]]:
        """The parameters for `predict`: those sent, converted, and defaults for the rest.

        Without `params` in the signature, whatever was sent is dropped with a warning, as in
        MLflow.

        :raises ScoringError: names every parameter that does not fit.
        """
        if self.specs is None:
            if sent is None or sent == {}:
                return sent
            logger.warning("The params are ignored: the model's signature declares none.")
            return {}
        if sent is None:
            return copy.deepcopy(self._defaults)
        if not isinstance(sent, dict):
            raise schema_error("The params must be an object, got {}.".format(type_name(sent)))
        unknown = set(sent) - self.names
        if unknown:
            logger.warning(
                "Params that are not in the signature are ignored: %s.", quote(sorted(unknown))
            )
        return self._convert(sent)

    def _convert(self, sent: Dict[str, Any]) -> Dict[str, Any]:
        # Those sent come first and in their order, as in MLflow.
        converted: Dict[str, Any] = {name: None for name in sent if name in self.names}
        problems = []
        for spec in self.specs or ():
            if spec.name not in sent:
                converted[spec.name] = copy.deepcopy(self._defaults[spec.name])
                continue
            try:
                converted[spec.name] = _validate(sent[spec.name], spec)
            except ScoringError as error:
                problems.append("{}: {}".format(spec.name, error.message))
        if problems:
            raise schema_error("Params do not fit the signature. " + " ".join(problems))
        return converted


def _validate(value: Any, spec: Param) -> Any:
    if spec.shape == (-1,):
        if not isinstance(value, (list, np.ndarray)) or _is_nested(value):
            raise schema_error(
                "Expected a flat list of {}, got {}.".format(spec.type, quote(value))
            )
        return [_convert_value(item, spec.type) for item in value]
    if isinstance(spec.type, DataType):
        return _convert_value(value, spec.type)
    # The check may convert in place of what the model wants to see: the value goes as it came.
    compile_type(spec.type)(copy.deepcopy(value))
    return value


def _is_nested(value: Any) -> bool:
    return any(isinstance(item, (list, dict, np.ndarray)) for item in value)


def _convert_value(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    if kind is DATETIME:
        return _to_datetime(value)
    if not np.isscalar(value):
        raise schema_error("Expected one {}, got {}.".format(kind, quote(value)))
    if _has_type(value, kind) or any(_has_type(value, k) for k in _WIDENING.get(kind, ())):
        return kind.python(value)
    raise schema_error(
        "Cannot convert {} ({}) safely to {}.".format(quote(value), type_name(value), kind)
    )


def _has_type(value: Any, kind: DataType) -> bool:
    if kind is BOOLEAN:
        return type(value) in (bool, np.bool_)
    return type(value) in (kind.python, kind.numpy.type)


def _to_datetime(value: Any) -> Any:
    try:
        converted = np.datetime64(value).item()
        if isinstance(converted, int) or converted is None:
            raise ValueError("It is a count, or no time.")
    except (ValueError, TypeError, OverflowError) as error:
        raise schema_error("Cannot convert {} to datetime.".format(quote(value))) from error
    return converted
