"""What runs inside an environment, as commands. Today: the scoring server that we bring."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from launcher.environment import SCORING_SERVER
from launcher.server_process import Command, isolated_environ


def _descriptors(socket_fd: int | None, status_fd: int, lifeline_fd: int) -> list[str]:
    arguments = [f"--status-fd={status_fd}", f"--lifeline-fd={lifeline_fd}"]
    return arguments if socket_fd is None else [*arguments, f"--socket-fd={socket_fd}"]


def scoring_server_command(python: Path, config: Path, *arguments: str) -> Command:
    """The scoring server, run by ``python`` from the launcher's own copy of it.

    :param config: its configuration file.
    :param arguments: further arguments, as for a batch job.
    """
    return Command(
        argv=(str(python), str(SCORING_SERVER), str(config), *arguments),
        environ=isolated_environ(os.environ, python),
        descriptors=_descriptors,
        drain_signal=signal.SIGUSR1,
    )
