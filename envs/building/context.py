"""What a build is given besides the spec: where to write, whom to tell, what is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from envs.building.log import BuildLog
from envs.disk.home import launcher_home

Report = Callable[[str], None]


def ignore(_message: str) -> None:
    """A report that nobody reads."""


def is_offline(chosen: bool | None) -> bool:
    """Whether no network may be touched; None leaves that to ``LAUNCHER_OFFLINE``."""
    if chosen is not None:
        return chosen
    return os.environ.get("LAUNCHER_OFFLINE", "").lower() in ("1", "true", "yes")


@dataclass(frozen=True)
class Context:
    """The surroundings of one build; none of it decides what is in the environment.

    :param home: the launcher's home folder.
    :param report: gets progress, one line (str) at a time, without a line end.
    :param log: where commands print to.
    :param offline: never touch a network.
    :param python_downloads: whether uv may install a missing Python.
    :param wheelhouse: a folder of distributions to use instead of any index, or None.
    :param work: a folder for files of this build that may hold credentials; removed with it.
        None: the platform's folder for temporary files.
    """

    home: Path = field(default_factory=launcher_home)
    report: Report = ignore
    log: BuildLog = field(default_factory=lambda: BuildLog(None))
    offline: bool = False
    python_downloads: bool = True
    wheelhouse: Path | None = None
    work: Path | None = None

    @property
    def uv(self) -> str:
        """The path of the uv that is installed beside the launcher, whatever PATH says."""
        import uv

        return uv.find_uv_bin()
