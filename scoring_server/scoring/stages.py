"""How long the stages of answering took: noted with the request that they belong to."""

from __future__ import annotations

import time
from typing import Any, List, Tuple

PARSE, PREDICT, ENCODE = "parse", "predict", "encode"

# The stages of one request, with their seconds.
Stages = List[Tuple[str, float]]


class Timed:
    """Notes how long the block takes, whether it ends or raises."""

    __slots__ = ("_stage", "_stages", "_started")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages = stages
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self._stages.append((self._stage, time.perf_counter() - self._started))
