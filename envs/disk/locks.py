"""Locks between processes that vanish with the process that holds them.

filelock waits for locks. What it cannot do is here, with the kernel's own locks (flock), which
are the same that filelock takes: a lock that several hold, a mark that a child inherits, and
taking a free lock at once, since importing filelock takes as long as finding an environment
again. A lock file's content is the pid of who builds, for people; the lock itself is what counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.disk.files import DISK_FULL
from envs.disk.home import make_private_folder

_MODE = 0o600  # who cannot open a lock file cannot hold it against its owner
_POLL = 0.1  # seconds


@contextmanager
def exclusive(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the exclusive lock of ``path``, a file made for it (its folder too).

    :param waiting: called once with the holder's pid as text (maybe empty) where another process
        has the lock; then this one waits, until it has the lock or a signal handler raises.
    :raises OSError: the file cannot be made.
    """
    with try_exclusive(path) as locked:
        if locked:
            yield
            return
    if waiting is not None:
        waiting(holder_of(path))
    from filelock import FileLock

    with FileLock(path, mode=_MODE).acquire(poll_interval=_POLL):
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock of ``path`` together with others that hold it so; waits for an exclusive one.

    :raises OSError: the file cannot be made.
    """
    descriptor = None
    while descriptor is None:
        descriptor = _open_locked(path, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_exclusive(path: Path) -> Iterator[bool]:
    """Like `exclusive`, but yield False at once where another process has the lock."""
    descriptor = _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_lock_file(path: Path) -> None:
    """Remove a lock file; only for the holder: waiters notice and take the new file.

    One that cannot be removed, on a disk that is read-only by now, stays: it is nobody's.
    """
    with contextlib.suppress(OSError):
        path.unlink()


def _open_locked(path: Path, operation: int) -> int | None:
    """Return a locked descriptor, None where another holds the lock or has removed the file."""
    make_private_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    except FileNotFoundError:  # its folder has been removed meanwhile
        return None
    try:
        fcntl.flock(descriptor, operation)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def holder_of(path: Path) -> str:
    """Return the pid (text) that signed the lock last, "" where none did."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def sign(path: Path) -> None:
    """Write this process's pid into a lock file, for those who wait; only for the holder.

    Not done with every lock: most are held for a moment, and writing takes longer than that.
    """
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        # The pid is only told to people; on a full disk the lock holds without it.
        if error.errno not in DISK_FULL:
            raise


class Mark:
    """The mark of one user of an environment: a locked file named after the pid.

    The kernel takes the mark away when the last process that holds its descriptor ends, killed
    or not. `fileno` may be handed to a child process, for which the mark then stands as well.
    Make one only while holding the environment's lock: between the file and its lock it looks
    dead.
    """

    def __init__(self, folder: Path):
        make_private_folder(folder)
        self._pid = os.getpid()
        self.path = folder / f"{self._pid}-{os.urandom(4).hex()}"
        self._descriptor: int | None = os.open(
            self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def fileno(self) -> int:
        """Return the descriptor that holds the mark.

        :raises ValueError: it was released.
        """
        if self._descriptor is None:
            raise ValueError("The mark was released.")
        return self._descriptor

    def release(self) -> None:
        """Take the mark away (also done when this object is collected)."""
        if self._descriptor is None:
            return
        if self._pid == os.getpid():  # a forked child holds a copy of what is its parent's
            remove_lock_file(self.path)
        os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.release()


def users(folder: Path, *, remove_dead: bool = False) -> list[int]:
    """Return the pids whose marks in ``folder`` are alive.

    :param remove_dead: remove the other marks; only for the holder of the environment's lock.
    """
    alive: list[int] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # released since the folder was read
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alive.append(int(path.name.partition("-")[0]))
            else:
                if remove_dead:
                    path.unlink(missing_ok=True)
    return alive
