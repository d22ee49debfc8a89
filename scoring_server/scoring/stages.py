"""How long the stages of answering took: noted where they happen, sent along with the answer."""

from __future__ import annotations

import functools
import time
from collections import deque
from typing import Any, Callable, Deque, List, Tuple, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

PARSE, PREDICT, ENCODE = "parse", "predict", "encode"

_noted: Deque[Tuple[str, float]] = deque(maxlen=10000)


def timed(stage: str) -> Callable[[Function], Function]:
    """Note how long each call of the function takes, whether it returns or raises."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                _noted.append((stage, time.perf_counter() - started))

        return cast(Function, call)

    return decorate


def take() -> List[Tuple[str, float]]:
    """The stages noted in this process since the last call, with their seconds."""
    taken = []
    while _noted:
        taken.append(_noted.popleft())
    return taken
