"""The variables of a process that is to know one environment only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# What would make a process look at another Python or its packages, install somewhere else, or
# take the launcher's own sockets and watchdog for its own.
_FOREIGN = {
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONEXECUTABLE",
    "PYTHONSAFEPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONINSPECT",
    "PYTHONDONTWRITEBYTECODE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "PYENV_VERSION",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_PROJECT",
    "UV_WORKING_DIRECTORY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
}
# Settings of the tools that make environments: for them, not for what runs inside.
_SETTINGS = ("CONDA_", "_CONDA_", "GUNICORN_", "FLASK_", "UV_")


def clean_environ(
    extra: Mapping[str, str] | None = None, *, python: Path | None = None
) -> dict[str, str]:
    """Return this process's variables without those of other environments, plus ``extra``.

    :param python: the interpreter of the environment that the process belongs to: its scripts come
        first on PATH. None for a tool that makes environments, which keeps its settings.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    if python is None:
        kept["NO_COLOR"] = "1"
    else:
        kept = {name: value for name, value in kept.items() if not name.startswith(_SETTINGS)}
        kept["PYTHONUNBUFFERED"] = "1"
        kept["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    return {**kept, "PYTHONNOUSERSITE": "1", **(extra or {})}
