"""The formats in which a client takes an answer: JSON, or Arrow where it asks for that.

RFC 9110, 12.5.1: `Accept` has media ranges with weights (`q`), and the closest range counts.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Dict, Sequence

from ..errors import ScoringError
from ..routes import JSON_TYPE
from .parsing import ARROW_TYPE

NOT_ACCEPTABLE = 406
_WILD = "*/*"


def answer_types(accept: str) -> Sequence[str]:
    """The media types of an answer, the best first, from an `Accept` that names Arrow's.

    Who names it gets it, unless JSON has more weight; wildcards alone leave it at JSON.

    :raises ScoringError: Arrow alone is accepted and pyarrow is missing (status 406).
    """
    weights = _weights(accept)
    arrow = weights.get(ARROW_TYPE, 0.0) if _has_pyarrow() else 0.0
    json = next(
        (weights[name] for name in (JSON_TYPE, "application/*", _WILD) if name in weights), 0.0
    )
    if arrow > 0 and arrow >= json:
        return (ARROW_TYPE, JSON_TYPE) if json > 0 else (ARROW_TYPE,)
    if arrow <= 0 and json <= 0 and weights.get(ARROW_TYPE, 0.0) > 0:
        raise ScoringError(
            "An answer as Arrow needs the package pyarrow in the model's environment; accept"
            " {}, too.".format(JSON_TYPE),
            status=NOT_ACCEPTABLE,
        )
    return (JSON_TYPE,)


def _weights(accept: str) -> Dict[str, float]:
    weights = {}
    for item in accept.split(","):
        media_range, *parameters = [part.strip().lower() for part in item.split(";")]
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                weight = _weight(value.strip())
        weights[media_range] = weight
    return weights


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    # What is no number compares as false: it counts as nothing, too.
    return weight if 0 <= weight <= 1 else 0.0


@lru_cache(maxsize=None)
def _has_pyarrow() -> bool:
    return importlib.util.find_spec("pyarrow") is not None
