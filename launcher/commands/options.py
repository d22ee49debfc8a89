"""The options on where an environment's parts may come from, for every command that needs one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from envs import EnvSpec
    from launcher.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class BuildOptions:
    """Keywords of `envs.prepare`; none of them decides what is in an environment.

    ``offline`` None stands for the variable LAUNCHER_OFFLINE.
    """

    offline: bool | None = None
    python_downloads: bool = True
    wheelhouse: Path | None = None

    @property
    def is_offline(self) -> bool:
        """Whether no network may be touched."""
        if self.offline is not None:
            return self.offline
        return os.environ.get("LAUNCHER_OFFLINE", "").lower() in ("1", "true", "yes")

    def keywords(self) -> dict[str, Any]:
        """Return them as `envs.prepare` takes them."""
        return dict(self.__dict__)


def build_options(function: Function) -> Function:
    """Add --offline, --no-python-downloads and --wheelhouse to a command."""
    for option in (
        click.option(
            "--wheelhouse",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            metavar="DIR",
            help="Build from this folder instead of an index; see prepare-env --download.",
        ),
        click.option(
            "--no-python-downloads",
            "python_downloads",
            is_flag=True,
            flag_value=False,
            default=True,
            help="Do not install a Python that is missing.",
        ),
        click.option(
            "--offline",
            is_flag=True,
            flag_value=True,
            default=None,
            help="Never touch a network: only what is cached.  [env: LAUNCHER_OFFLINE]",
        ),
    ):
        function = option(function)
    return function


def fill_wheelhouse(spec: EnvSpec, folder: Path, options: BuildOptions, console: Console) -> int:
    """Fill a folder with all that the environment is made of; return the number of wheels.

    :raises envs.EnvError: something cannot be resolved, downloaded or built.
    """
    from envs import locking

    wheels = locking.fill_wheelhouse(
        spec, folder, report=console.under_way, offline=options.offline
    )
    console.step(f"{folder}: {len(wheels)} wheels; build with --wheelhouse {folder}")
    return len(wheels)
