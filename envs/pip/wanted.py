"""What an environment gets from a package index: the model's requirements, and what is added."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs.pip.requirements_file import Requirements, flatten
from envs.spec import EnvSpec, normalize_name, requirement_name

if TYPE_CHECKING:
    from datetime import date, datetime

    from envs.pip.resolution import Request

_PINNED = re.compile(r"^[^;]*(==|@)")


class PipRequirements(NamedTuple):
    """Requirements, and up to when uploads count.

    :param wanted: all requirements, flattened.
    :param day: the day to resolve as of, None for today.
    :param bound: the moment (UTC) up to which uploads count, None for no bound.
    :param younger: packages with a day of their own, which is later: "orjson=2026-11-01".
    """

    wanted: Requirements
    day: date | None
    bound: datetime | None
    younger: tuple[str, ...]

    def request(self, python: str | Path) -> Request:
        """What is to be resolved, for an interpreter."""
        from envs.pip.resolution import Request

        return Request(
            lines=self.wanted.lines,
            constraints=self.wanted.constraints,
            indexes=self.wanted.indexes,
            python=str(python),
            day=self.day,
            bound=self.bound,
            younger=self.younger,
        )

    def canonical(self) -> dict[str, Any]:
        """Return what goes into a key."""
        return {
            "requirements": self.wanted.canonical,
            "constraints": self.wanted.canonical_constraints,
            "indexes": self.wanted.indexes.canonical(os.environ),
            "upload_bound": self.bound.isoformat() if self.bound else None,
            "younger": self.younger,
        }


def join(spec: EnvSpec, added: Iterable[str]) -> PipRequirements:
    """Return the requirements of a spec with the ``added`` lines, files read.

    What the model pins wins: an added requirement for a package that the model pins itself is
    left out, and such a package is never newer than the model's day allows.

    :raises EnvError: a file is missing, or none that may be read.
    """
    model = flatten(spec.requirements, spec.base_dir)
    pinned = {requirement_name(line) for line in model.canonical if _PINNED.match(line)}
    named = {requirement_name(line) for line in model.canonical}
    lines = [line for line in added if requirement_name(line) not in pinned]
    return PipRequirements(
        wanted=flatten([*spec.requirements, *lines], spec.base_dir),
        day=spec.resolution_date(),
        bound=spec.upload_bound(),
        younger=tuple(
            sorted(
                each for each in spec.younger if normalize_name(each.partition("=")[0]) not in named
            )
        ),
    )
