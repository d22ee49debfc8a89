"""The launcher in an image of its own: ``serve`` and ``ping`` with nothing but variables.

Every option of ``launcher serve`` is a variable there, LAUNCHER_SERVE_ and its name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from launcher.cli.main import PREFIX, main

# Where a platform mounts the model: SageMaker, KServe.
MODEL_FOLDERS = (Path("/opt/ml/model"), Path("/mnt/models"))


def start(arguments: list[str], environ: MutableMapping[str, str]) -> None:
    """Run the launcher as a container's process 1.

    :param arguments: the container's; none stands for ``serve``.
    :param environ: this process's variables, to which those of the platform are added.
    """
    arguments = arguments or ["serve"]
    port = _port(environ)
    if arguments[0] == "serve":
        # The name that counts first; click's default is another.
        environ[f"{PREFIX}_SERVE_PORT"] = port
        if not environ.get(f"{PREFIX}_SERVE_MODEL_URI"):
            environ[f"{PREFIX}_SERVE_MODEL_URI"] = environ.get("MODEL_URI") or str(_mounted())
    elif arguments == ["ping"]:
        sys.exit(_ping(_address(port, environ)))
    main(arguments, prog_name="launcher")


def _port(environ: MutableMapping[str, str]) -> str:
    names = (f"{PREFIX}_SERVE_PORT", "MLFLOW_PORT", "PORT")
    return next((environ[name] for name in names if environ.get(name)), "8080")


def _mounted() -> Path:
    """Where the model is; the first place, where there is none."""
    found = [folder for folder in MODEL_FOLDERS if (folder / "MLmodel").is_file()]
    return (found or list(MODEL_FOLDERS))[0]


def _address(port: str, environ: MutableMapping[str, str]) -> str:
    if environ.get(f"{PREFIX}_SERVE_UDS"):
        return "unix://" + environ[f"{PREFIX}_SERVE_UDS"]
    scheme = "https" if environ.get(f"{PREFIX}_SERVE_TLS_CERT") else "http"
    return f"{scheme}://127.0.0.1:{port}"


def _ping(address: str) -> int:
    from launcher.supervision.probes import ping, ping_url

    # The certificate is for the service's name, not for this address.
    problem = ping(ping_url(address), timeout=2.0, verify=False)
    if problem is not None:
        print(f"not ready: {problem}", file=sys.stderr)
    return 0 if problem is None else 1


if __name__ == "__main__":
    start(sys.argv[1:], os.environ)
