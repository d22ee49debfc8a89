"""Where the launcher keeps what it may throw away, for its user alone."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from envs.errors import EnvError

# What is made in the home, beside files of JSON.
_FOLDERS = frozenset(("conda", "envs", "logs", "models", "run", "virtualenv"))


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


def close_home(warn: Callable[[str], None]) -> None:
    """Close the home to other users, where this user made it and left it open to them.

    Only what was made for it is closed: where other things lie in the folder too (it may be
    ``/tmp``), the folders below it. What somebody else made is left as it is: root's, which others
    read, is an image's or a machine's on purpose; of any other, ``warn`` is told.

    :param warn: gets what a person should know, a line each.
    """
    home = launcher_home().resolve()
    try:
        inside = list(os.scandir(home))
    except OSError:
        return  # not there yet; or not to be read, as who needs it says
    is_ours = all(each.name in _FOLDERS or each.name.endswith(".json") for each in inside)
    below = [home / each.name for each in inside if each.name in _FOLDERS]
    for folder in [home] if is_ours else below:
        found = folder.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and mode & 0o077:
            with contextlib.suppress(OSError):  # of a file system that is read-only
                folder.chmod(0o700)
                warn(f"{folder} was open to other users (mode {mode:o}); it is yours alone now")
    found = home.stat()
    if found.st_uid not in (0, os.geteuid()):
        warn(f"{home} belongs to user {found.st_uid}, who can change the code that runs from it")
    elif found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        warn(f"anybody may write to {home}, and so change the code that runs from it")


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone (0700)."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if folder.is_dir():
            return
        if os.path.lexists(folder):
            raise
        make_private_folder(folder)  # it has been removed meanwhile
    except FileNotFoundError:
        make_private_folder(folder.parent)
        make_private_folder(folder)


def open_private(path: str, flags: int) -> int:
    """Open a file of the home: for this user alone (0600), and through no link.

    An opener for `open`.

    :raises OSError: as `os.open`; ELOOP for a link.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
