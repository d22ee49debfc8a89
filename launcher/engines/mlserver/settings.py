"""MLServer's own files: what it is told, in its words.

https://mlserver.readthedocs.io/en/latest/reference/settings.html and .../model-settings.html
"""

from __future__ import annotations

import re
import socket
from math import ceil
from pathlib import Path
from typing import Any

from envs.disk.files import write_json
from envs.disk.home import make_private_folder
from launcher.engines.engine import Assignment, ServerOptions

# Run in the model's environment, and copied since their folder is not to be on its path.
START = Path(__file__).with_name("mlserver_start.py")
_TIMED = Path(__file__).with_name("timed_runtime.py")
_RUNTIME = "mlserver_mlflow.MLflowRuntime"
_TIMED_RUNTIME = "timed_runtime.TimedRuntime"


def model_name(assignment: Assignment) -> str:
    """The model's name in the paths of the Open Inference Protocol: as our own server has it.

    MLServer makes a folder of it, and takes no other name.
    """
    name = next(iter(assignment.identity.names), assignment.model.path.name)
    return re.sub(r"[^\w.-]+", "-", name)


def server_settings(options: ServerOptions, folder: Path, grpc_port: int) -> dict[str, Any]:
    """The content of settings.json.

    :param folder: for what it writes while it runs.
    """
    return {
        # With it MLServer logs each request and the bodies' types; it is on by default there.
        "debug": options.debug,
        "host": options.host,
        "http_port": options.port,
        "grpc_port": grpc_port,
        # Its port would be a third one that nobody has chosen.
        "metrics_endpoint": None,
        "parallel_workers": options.workers,
        # A worker has as long for its last requests as the server has.
        "parallel_workers_timeout": ceil(options.graceful_timeout),
        "use_structured_logging": options.log_format == "json",
        "metrics_dir": str(folder / ".metrics"),
        "environments_dir": str(folder / ".envs"),
    }


def model_settings(assignment: Assignment) -> dict[str, Any]:
    """The content of model-settings.json."""
    options = assignment.options
    parameters: dict[str, Any] = {"uri": str(assignment.model.path)}
    if options.timeout is not None:
        parameters["extra"] = {"timeout": options.timeout}
    return {
        "name": model_name(assignment),
        "implementation": _RUNTIME if options.timeout is None else _TIMED_RUNTIME,
        "max_batch_size": options.max_batch_rows,
        "max_batch_time": options.batch_wait,
        "parameters": parameters,
    }


def write_settings(assignment: Assignment, folder: Path) -> None:
    """Write all that MLServer reads into a folder of its own.

    :raises OSError: that cannot be done.
    """
    import shutil  # here: our own server starts without it

    options = assignment.options
    of_model = folder / model_name(assignment)  # MLServer warns where folder and model differ
    make_private_folder(of_model)
    write_json(folder / "settings.json", server_settings(options, folder, _free_port(options.host)))
    shutil.copyfile(START, folder / START.name)
    shutil.copyfile(_TIMED, of_model / _TIMED.name)
    write_json(of_model / "model-settings.json", model_settings(assignment))


def _free_port(host: str) -> int:
    """A port for gRPC. On a fixed one two servers would share the requests of both."""
    with socket.socket() as bound:
        bound.bind((host, 0))
        port: int = bound.getsockname()[1]
    return port
