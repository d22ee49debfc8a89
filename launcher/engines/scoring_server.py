"""The engine that we bring: the scoring server, run in any environment from our own copy of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from envs.disk.files import write_json
from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.engines.server_config import server_config
from launcher.errors import ModelError
from launcher.model.mlmodel import Model
from launcher.supervision.process import Command
from scoring_server.container.cpu_limits import available_cpus

FOLDER = Path(__file__).resolve().parents[2] / "scoring_server"


class ScoringServer(Engine):
    """Serves models of the python_function flavor."""

    name = "scoring_server"
    # Wide on purpose: these join the model's own resolution, and the model's pins win.
    requirements = (
        "flask>=1.0",
        "pandas>=1.0",
        "numpy",
        # Three times faster than the standard library on requests of many rows. Where it has no
        # wheels, the server does without.
        "orjson>=3.9.15; python_version >= '3.8' and platform_python_implementation == 'CPython'"
        " and platform_machine in 'x86_64 AMD64 aarch64 arm64'",
    )
    # Not of the model's day: earlier releases overflow the stack on deeply nested JSON.
    undated = ("orjson",)
    packages = (FOLDER,)
    options = frozenset(ServerOptions._fields)
    side_by_side = True

    def check(self, model: Model, options: ServerOptions) -> None:  # noqa: ARG002 - has them all
        """See that the model has the python_function flavor.

        :raises ModelError: it has not.
        """
        if not model.pyfunc:
            raise ModelError(
                f"{model.path} has no python_function flavor "
                f"(it has: {', '.join(sorted(model.flavors))}).",
                "Only models with the python_function flavor can be served.",
            )

    def configure(
        self, assignment: Assignment, folder: Path, *, restarts: int = 0, reloads: int = 0
    ) -> None:
        """Write its configuration."""
        write_config(folder / "config.json", assignment, restarts=restarts, reloads=reloads)

    def command(self, python: Path, folder: Path, model: Model) -> Command:  # noqa: ARG002
        """Our copy of the server, which takes the socket and announces what it does."""
        return _command(python, folder)


def scoring_command(python: Path, folder: Path, *arguments: str) -> Command:
    """The server as a batch job that scores one file.

    :param folder: as ``configure`` has filled it.
    :param arguments: what it scores, and where to.
    """
    return _command(python, folder, "--predict", *arguments)


def _command(python: Path, folder: Path, *arguments: str) -> Command:
    return Command(
        argv=(str(python), str(FOLDER), str(folder / "config.json"), *arguments),
        environ={},
        descriptors=_descriptors,
        drain_signal=signal.SIGUSR1,
        side_by_side=ScoringServer.side_by_side,
    )


def _descriptors(socket_fd: int | None, status_fd: int, lifeline_fd: int) -> list[str]:
    arguments = [f"--status-fd={status_fd}", f"--lifeline-fd={lifeline_fd}"]
    return arguments if socket_fd is None else [*arguments, f"--socket-fd={socket_fd}"]


def write_config(
    path: Path, assignment: Assignment, *, restarts: int = 0, reloads: int = 0
) -> None:
    """Write the configuration with which the server serves, also without a launcher.

    :raises OSError: that cannot be done.
    """
    counted = {"processors": available_cpus(), "restarts": restarts, "reloads": reloads}
    settings: dict[str, Any] = {**assignment.options._asdict(), **counted}
    write_json(
        path,
        server_config(
            assignment.model,
            uri=assignment.uri,
            identity=assignment.identity,
            environment=dict(assignment.environment),
            server=settings,
        ),
    )
