"""The engine that we bring: the scoring server, run in any environment from our own copy of it."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from envs.disk.files import write_json
from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.engines.server_config import server_config
from launcher.errors import ModelError, UsageError
from launcher.model.mlmodel import CRATE, Model
from launcher.supervision.process import Command
from scoring_server.container.cpu_limits import available_cpus

FOLDER = Path(__file__).resolve().parents[2] / "scoring_server"


class ScoringServer(Engine):
    """Serves models of the python_function flavor, and crates by a process of R's."""

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
    younger = ("orjson=2026-11-01",)
    pythons = ">=3.7"
    packages = (FOLDER,)
    options = frozenset(ServerOptions._fields)
    side_by_side = True
    has_traces = True

    def check(self, model: Model, options: ServerOptions) -> None:
        """See that the model has the flavor, and a crate is given no option that R has not.

        :raises ModelError: it has not.
        :raises UsageError: it is.
        """
        if not model.flavors.get(model.flavor):
            raise ModelError(
                f"{model.path} has no {model.flavor} flavor "
                f"(it has: {', '.join(sorted(model.flavors))}).",
                "Give the flavor that it has with --flavor, or leave that out.",
            )
        if model.flavor == CRATE:
            _check_crate(model, options)

    def configure(
        self, assignment: Assignment, folder: Path, *, restarts: int = 0, reloads: int = 0
    ) -> None:
        """Write its configuration."""
        path = folder / "config.json"
        write_config(
            path,
            assignment,
            restarts=restarts,
            reloads=reloads,
            scratch=folder,
            docs_viewer=docs_viewer(),
        )

    def command(self, python: Path, folder: Path, assignment: Assignment) -> Command:
        """Our copy of the server, which takes the socket and announces what it does."""
        traces = assignment.traces
        inherited = () if traces is None else (int(traces["descriptor"]),)
        return _command(python, folder)._replace(inherited=inherited)


def _check_crate(model: Model, options: ServerOptions) -> None:
    file = model.path / str(model.flavors[CRATE].get("model") or "crate.bin")
    if not file.is_file():
        raise ModelError(f"{model.path} has no {file.name}.", "Save the model again in R.")
    refused = {
        "--threads": (options.threads > 1, "R has one thread: use --workers."),
        "--max-batch-rows": (bool(options.max_batch_rows), "Crates are not batched: leave it out."),
        "--batch-wait": (options.batch_wait > 0, "Crates are not batched: leave it out."),
        "--preload": (options.preload is True, "Each worker has an R of its own: leave it out."),
        "--direct-lane on": (options.direct_lane == "on", "R takes no arrays: leave it out."),
        "--loader mlflow": (options.loader == "mlflow", "R reads the crate itself: leave it out."),
    }
    for flag, (is_given, hint) in refused.items():
        if is_given:
            raise UsageError(f"{flag} is not for crates.", hint)


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


def docs_viewer() -> Path | None:
    """The folder of Swagger UI's files that this launcher's own environment has."""
    # Not imported: that would import Flask. Only its files are wanted.
    found = find_spec("flask_swagger_ui")
    folder = found and found.origin and Path(found.origin).parent / "dist"
    return folder if folder and folder.is_dir() else None


def write_config(
    path: Path,
    assignment: Assignment,
    *,
    restarts: int = 0,
    reloads: int = 0,
    scratch: Path | None = None,
    docs_viewer: Path | None = None,
) -> None:
    """Write the configuration with which the server serves, also without a launcher.

    :param scratch: a folder for the temporary files of workers; None for the system's.
    :param docs_viewer: the folder of the viewer for ``/docs``; None for none.
    :raises OSError: that cannot be done.
    """
    counted = {"processors": available_cpus(), "restarts": restarts, "reloads": reloads}
    folders = {"scratch": scratch, "docs_viewer": docs_viewer}
    settings: dict[str, Any] = {**assignment.options._asdict(), **counted, **folders}
    settings["traces"] = assignment.traces
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
