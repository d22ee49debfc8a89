"""What runs inside an environment, as commands. Today: the scoring server that we bring."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.commands.environment import SCORING_SERVER
from launcher.supervision.process import Command

if TYPE_CHECKING:
    from envs import Environment


def _descriptors(socket_fd: int | None, status_fd: int, lifeline_fd: int) -> list[str]:
    arguments = [f"--status-fd={status_fd}", f"--lifeline-fd={lifeline_fd}"]
    return arguments if socket_fd is None else [*arguments, f"--socket-fd={socket_fd}"]


def scoring_server_argv(python: Path, config: Path, *arguments: str) -> tuple[str, ...]:
    """The arguments that have ``python`` run the launcher's own copy of the scoring server.

    :param config: its configuration file.
    :param arguments: further arguments, as for a batch job.
    """
    return (str(python), str(SCORING_SERVER), str(config), *arguments)


def scoring_server_command(
    environment: Environment, config: Path, *arguments: str, warn: Callable[[str], None]
) -> Command:
    """The scoring server, run in ``environment`` as ``scoring_server_argv`` has it.

    :param warn: called with one line for each thing of the environment that failed.
    """
    from envs import environ

    return Command(
        argv=scoring_server_argv(environment.python, config, *arguments),
        environ=environ(environment, warn=warn),
        descriptors=_descriptors,
        drain_signal=signal.SIGUSR1,
    )
