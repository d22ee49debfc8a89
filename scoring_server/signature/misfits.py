"""What of a request does not fit, said as who sent it knows it: in JSON's types, by its place.

numpy and pandas speak of dtypes and of arguments of their own, of which a client has sent none.
Nothing is looked for before a request has been refused.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple, Type

import numpy as np
import pandas as pd

from ..errors import quote, type_name


def first_refused(
    attempt: Callable[[int, int], Any],
    count: int,
    refusals: Tuple[Type[Exception], ...] = (Exception,),
) -> Optional[int]:
    """The first of so many items, from 0, that is refused; None if none is by itself.

    Halves what is left each time: millions of items take little longer than the refusal did.

    :param attempt: does with the items from one up to another what may be refused.
    """
    start, stop = 0, count
    while stop - start > 1:
        middle = (start + stop) // 2
        if is_refused(attempt, start, middle, refusals):
            stop = middle
        else:
            start = middle
    return start if count and is_refused(attempt, start, stop, refusals) else None


def is_refused(
    attempt: Callable[[int, int], Any],
    start: int,
    stop: int,
    refusals: Tuple[Type[Exception], ...] = (Exception,),
) -> bool:
    """Whether the items from one up to another are refused."""
    try:
        attempt(start, stop)
    except refusals:
        return True
    return False


def column_misfit(values: pd.Series, convert: Callable[[pd.Series], Any]) -> Optional[str]:
    """Words on the first value of a column that `convert` refuses; None where it refuses none.

    :param convert: raises for a column with a value that does not fit.
    """
    count = len(values)
    found = first_refused(lambda start, stop: convert(values.iloc[start:stop]), count)
    if found is None:
        return None
    row = " in row {} of {}".format(found + 1, count) if count > 1 else ""
    return "got {}{}".format(told(values.iloc[found]), row)


def nested_misfit(data: Any, dtype: Any) -> str:
    """The same for values in lists of any depth; where all of them fit, the lists do not."""
    values = list(_leaves(data))
    found = first_refused(lambda start, stop: np.array(values[start:stop], dtype), len(values))
    if found is None:
        return "got lists of different lengths in one list"
    return "got {}".format(told(values[found]))


def row_counts(columns: Mapping[str, Any]) -> Dict[str, int]:
    """How many rows each input has, of those that have rows."""
    return {
        name: len(values)
        for name, values in columns.items()
        if isinstance(values, list) or (isinstance(values, np.ndarray) and values.ndim > 0)
    }


def unequal(counted: Mapping[str, int]) -> Optional[str]:
    """Words on inputs that differ in their number of rows; None where they do not."""
    if len(set(counted.values())) < 2:
        return None
    return "The inputs differ in their number of rows: {}.".format(counted)


def told(value: Any) -> str:
    """A value as its sender knows it: ``string 'x'``, ``number 1.5``, ``null``."""
    kind = type_name(value)
    if kind in ("null", "boolean"):
        return "null" if kind == "null" else str(bool(value)).lower()
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    return "{} {}".format(kind, quote(value))


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, (list, np.ndarray)):
        for item in data:
            yield from _leaves(item)
    else:
        yield data
