"""What is decided before an environment is built, and what is known once it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Plan(Protocol):
    """An environment that could be built: all decisions taken, nothing written.

    ``canonical`` has JSON values: all that decides the content, without credentials and without
    paths of the model; the key is its hash, and its ``manager`` names who builds. ``requirements``
    are the requirement lines for people, credentials removed.
    """

    @property
    def canonical(self) -> Mapping[str, Any]: ...

    @property
    def requirements(self) -> tuple[str, ...]: ...


class Contents(NamedTuple):
    """What a manager has built.

    :param python: the interpreter, relative to the environment's prefix ("bin/python").
    :param python_version: its full version.
    :param site_packages: folder of its packages, relative to the prefix.
    :param packages: normalised names and versions.
    :param resolved: the exact list that was installed, credentials removed (text).
    :param as_of: "2020-09-01", "today", or "lock" where a lockfile was installed.
    :param notes: one-line remarks.
    """

    python: str
    python_version: str
    site_packages: str
    packages: Mapping[str, str]
    resolved: str
    as_of: str
    notes: tuple[str, ...] = ()
