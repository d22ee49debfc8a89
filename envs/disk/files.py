"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from envs.errors import EnvError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What cannot be written to, for good: read-only, another user's, below a file.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def write_atomically(path: Path, text: str, *, optional: bool = False) -> None:
    """Write a file under another name, on disk, then move it into place.

    ``optional`` accepts that the disk is full or read-only: for what only saves time.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if not optional or error.errno not in (*DISK_FULL, *READ_ONLY):
            raise


def remove_tree(folder: Path) -> None:
    """Remove a folder, also one with read-only parts; nothing happens where there is none."""

    import shutil

    def make_writable(_function: object, name: str, problem: Any) -> None:
        error = problem if isinstance(problem, BaseException) else problem[1]
        if isinstance(error, FileNotFoundError):
            return  # another process removes the same leftover
        parent = Path(name).parent
        parent.chmod(0o700)
        target = Path(name)
        if target.is_dir() and not target.is_symlink():
            target.chmod(0o700)
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        if sys.version_info >= (3, 12):
            shutil.rmtree(folder, onexc=make_writable)
        else:
            shutil.rmtree(folder, onerror=make_writable)


def disk_full(folder: Path) -> EnvError:
    """Return the error for a full disk below ``folder``."""
    return EnvError(
        f"no space left on the disk of {folder}",
        hint="free some space, or set LAUNCHER_HOME to a folder on another disk",
    )


def folder_files(folder: Path) -> dict[tuple[int, int], int]:
    """Return the bytes on disk of the files below a folder, by device and inode.

    A file with several names appears once: sum the values for the folder's size.
    """
    sizes = {}
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(root, name))  # noqa: PTH118 - many files
            except FileNotFoundError:
                continue  # removed since the folder was read
            sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sizes
