"""How long the stages of answering took: noted with the request that they belong to."""

from __future__ import annotations

import time
from typing import Any, List, Tuple

PARSE, PREDICT, ENCODE = "parse", "predict", "encode"

# The stages of one request: seconds that each took, and when it began (`time.monotonic()`).
Stages = List[Tuple[str, float, float]]


class Timed:
    """Notes how long the block takes, whether it ends or raises."""

    __slots__ = ("_stage", "_stages", "_started")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages = stages
        self._stage = stage

    def __enter__(self) -> None:
        # The clock that all processes have in common.
        self._started = time.monotonic()

    def __exit__(self, *_: Any) -> None:
        took = time.monotonic() - self._started
        self._stages.append((self._stage, took, self._started))
