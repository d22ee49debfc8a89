"""What of a request does not fit, said as who sent it knows it: in JSON's types, by its place.

numpy and pandas speak of dtypes and of arguments of their own, of which a client has sent none.
Nothing is looked for before a request has been refused.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np

from ..errors import quote, type_name

Convert = Callable[[Any], Any]


def column_misfit(values: Sequence[Any], convert: Convert) -> Optional[str]:
    """Words on the first value of a column that `convert` refuses; None where it refuses none.

    :param convert: raises for a value that does not fit.
    """
    for number, value in enumerate(values, 1):
        if not _fits(value, convert):
            row = " in row {} of {}".format(number, len(values)) if len(values) > 1 else ""
            return "got {}{}".format(told(value), row)
    return None


def nested_misfit(data: Any, convert: Convert) -> str:
    """The same for a value in lists of any depth; where all values fit, the lists do not."""
    for value in _leaves(data):
        if not _fits(value, convert):
            return "got {}".format(told(value))
    return "got lists of different lengths in one list"


def told(value: Any) -> str:
    """A value as its sender knows it: ``string 'x'``, ``number 1.5``, ``null``."""
    kind = type_name(value)
    if kind in ("null", "boolean"):
        return "null" if kind == "null" else str(bool(value)).lower()
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    return "{} {}".format(kind, quote(value))


def _fits(value: Any, convert: Convert) -> bool:
    try:
        convert(value)
    except Exception:  # noqa: BLE001 - whatever numpy, pandas or a nested type raises for it
        return False
    return True


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, (list, np.ndarray)):
        for item in data:
            yield from _leaves(item)
    else:
        yield data
