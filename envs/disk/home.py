"""Where the launcher keeps what it may throw away."""

from __future__ import annotations

import os
from pathlib import Path


def launcher_home() -> Path:
    """Return the launcher's folder (absolute, not necessarily there yet).

    ``LAUNCHER_HOME`` where it is set, else ``mlmodel-launcher`` in the platform's cache folder
    of this user. Environments are in ``envs/`` below it, build logs in ``logs/``.
    """
    chosen = os.environ.get("LAUNCHER_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("mlmodel-launcher", appauthor=False))
