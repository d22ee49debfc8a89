"""The folders of running launchers, each ``run/PID-...`` below the launcher home.

Each is locked as long as its process lives. The lock tells who lives, not the pid: that is soon
another's in a container, whose first process is number 1 each time, and means nothing to one
container about the others that share a launcher home.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.disk.home import launcher_home, make_private_folder
from envs.disk.locks import exclusive, try_exclusive
from launcher.errors import LauncherError

_LOCK = "lock"


def all_run_folders() -> Path:
    """Where they are."""
    return launcher_home() / "run"


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for this process's own files, removed at the end.

    :raises LauncherError: it cannot be made.
    """
    parent = all_run_folders()
    try:
        make_private_folder(parent)
        path = parent / f"{os.getpid()}-{os.urandom(4).hex()}"
        new = path.with_name(f".{path.name}")
        new.mkdir(mode=0o700)
    except OSError as error:
        raise LauncherError(
            f"No folder can be made in {parent}: {error.strerror}.",
            "Set LAUNCHER_HOME to another folder.",
        ) from error
    try:
        # Nobody finds it before it is locked, and takes it for one that was left.
        with exclusive(new / _LOCK):
            new.rename(path)
            yield path
    finally:
        _remove(path)


def remove_if_left(folder: Path) -> None:
    """Remove the folder of a process that has died; nothing happens to that of a living one."""
    with try_exclusive(folder / _LOCK) as has_died:
        if has_died:
            _remove(folder)


def _remove(folder: Path) -> None:
    import shutil  # here: no server waits for it

    shutil.rmtree(folder, ignore_errors=True)
