"""Where the launcher keeps what it may throw away, for its user alone."""

from __future__ import annotations

import os
from pathlib import Path

from envs.errors import EnvError


def launcher_home() -> Path:
    """Return the launcher's folder (absolute, not necessarily there yet).

    ``LAUNCHER_HOME`` where it is set, else ``mlmodel-launcher`` in the platform's cache folder
    of this user. Environments are in ``envs/`` below it, build logs in ``logs/``.

    :raises EnvError: ``LAUNCHER_HOME`` names the home folder of an unknown user.
    """
    chosen = os.environ.get("LAUNCHER_HOME")
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError:
            raise EnvError(
                f"LAUNCHER_HOME is {chosen!r}, in the home folder of an unknown user.",
                hint="Set it to an absolute path.",
            ) from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("mlmodel-launcher", appauthor=False))


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone (0700)."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    except FileNotFoundError:
        make_private_folder(folder.parent)
        make_private_folder(folder)


def open_private(path: str, flags: int) -> int:
    """Open a file of the home: for this user alone (0600), and through no link.

    An opener for `open`.

    :raises OSError: as `os.open`; ELOOP for a link.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
