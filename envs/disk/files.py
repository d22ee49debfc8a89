"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

from envs.disk.home import make_private_folder
from envs.errors import EnvError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What cannot be written to, for good: read-only, another user's, below a file.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def write_atomically(
    path: Path,
    text: str,
    *,
    mode: int = 0o666,
    optional: bool = False,
    durable: bool = True,
) -> None:
    """Write a file under another name, then move it into place: readers find all of it or none.

    :param mode: its permissions, less the umask's.
    :param optional: whether the disk may be full or read-only: for what only saves time.
    :param durable: whether that holds after a power failure too, which takes tens of milliseconds.
    :raises OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        make_private_folder(path.parent)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if not optional or error.errno not in (*DISK_FULL, *READ_ONLY):
            raise


def write_json(path: Path, content: Any, *, mode: int = 0o666, optional: bool = False) -> None:
    """Write JSON values as `write_atomically` does; what is none (paths, dates) as its text.

    For what is made again where it is lost: it may be after a power failure.
    """
    import json

    text = json.dumps(content, indent=1, default=str) + "\n"
    write_atomically(path, text, mode=mode, optional=optional, durable=False)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one where it is missing or damaged."""
    import json

    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a file that may be anything: it never waits for a FIFO or a device.

    :param limit: bytes.
    :raises OSError: it cannot be read, is no regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


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
        f"There is no space left on the disk of {folder}.",
        hint="Free some space, or set LAUNCHER_HOME to a folder on another disk.",
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
