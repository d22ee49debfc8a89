"""MLServer under our supervision: what ``mlflow models serve --enable-mlserver`` was.

What it lacks is refused before anything is built. Its weaknesses are covered: it ends with 0 where
it cannot start, drops requests or hangs in a stop, and leaves workers behind that ignore SIGTERM.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.engines.mlserver.settings import START, model_name, write_settings
from launcher.errors import ModelError, UsageError
from launcher.model.mlmodel import PYTHON_FUNCTION, Model
from launcher.supervision.process import Command

VERSION = "1.7.1"


class MLServer(Engine):
    """Serves models of the python_function flavor with MLServer and its MLflow runtime."""

    name = "mlserver"
    requirements = (
        f"mlserver=={VERSION}",
        f"mlserver-mlflow=={VERSION}",
        # From 0.22 on there is no event loop before one is made, and MLServer asks for it.
        "uvloop<0.22",
    )
    pythons = ">=3.9,<3.13"
    since = datetime(2025, 6, 6, tzinfo=timezone.utc)
    instead = (
        "The launcher's own server needs nothing of this in the environment: "
        "leave --enable-mlserver out."
    )
    younger = ()
    packages = ()
    options = frozenset(
        {
            *("host", "port", "workers", "timeout", "graceful_timeout"),
            *("max_batch_rows", "batch_wait", "log_format", "debug"),
        }
    )

    def check(self, model: Model, options: ServerOptions) -> None:
        """See that MLServer can serve the model, and translate the options.

        :raises ModelError: it has no python_function flavor.
        :raises UsageError: options that MLServer has in another form only.
        """
        if not model.pyfunc or model.flavor != PYTHON_FUNCTION:
            raise ModelError(
                f"{model.path} has no python_function flavor to be served as "
                f"(it has: {', '.join(sorted(model.flavors))}).",
                "MLServer serves models with the python_function flavor only.",
            )
        if ":" in options.host:
            raise UsageError(
                f"MLServer cannot serve on the IPv6 address {options.host}.",
                "Give an IPv4 address, or leave --enable-mlserver out.",
            )
        if options.max_batch_rows == "auto":
            raise UsageError(
                "MLServer does not compare what it stacks: it has no --max-batch-rows auto.",
                "For example: --max-batch-rows 64 --batch-wait 5.",
            )
        if options.max_batch_rows and not options.batch_wait:
            raise UsageError(
                "MLServer stacks only requests that come within a time: --max-batch-rows needs "
                "--batch-wait.",
                "For example: --batch-wait 5.",
            )
        if options.batch_wait and int(options.max_batch_rows) < 2:
            raise UsageError(
                "--batch-wait needs --max-batch-rows of at least 2.", "Give both, or neither."
            )

    def configure(
        self,
        assignment: Assignment,
        folder: Path,
        *,
        restarts: int,  # noqa: ARG002 - it counts nothing
        reloads: int,  # noqa: ARG002
    ) -> None:
        """Write its settings."""
        write_settings(assignment, folder)

    def command(self, python: Path, folder: Path, assignment: Assignment) -> Command:
        """MLServer, which is ready once the model is.

        Its own ``/v2/health/ready`` says so of no model at all, too, and ``/ping`` waits in the
        queue of the model.
        """
        return Command(
            argv=(str(python), str(folder / START.name), str(folder)),
            environ={},
            folder=folder,
            ping_path=f"/v2/models/{model_name(assignment)}/ready",
        )
