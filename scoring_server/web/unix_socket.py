"""A unix socket to serve on: bound where no other server is, removed at the end.

Whether the server that made a socket still lives is told by a lock on the file beside it, since one
that is bound and does not listen yet refuses connections as one whose server has died does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

LOCK_ENDING = ".lock"


class UnixSocketError(Exception):
    """A path that cannot be served on.

    :param message: what is wrong.
    :param hint: what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def bound_unix_socket(path: str) -> Iterator[socket.socket]:
    """A socket bound to `path` within the block, not listening; who may connect says the umask.

    The socket of a server that has died is replaced.

    :raises UnixSocketError: something else is there, or a server that lives, or it cannot be made.
    """
    try:
        lock = _locked(path + LOCK_ENDING)
    except BlockingIOError as error:
        raise _is_served(path) from error
    except OSError as error:
        raise _cannot(path, error) from error
    with contextlib.ExitStack() as held:
        held.callback(os.close, lock)
        held.callback(_remove, path + LOCK_ENDING)
        _clear(path)
        listener = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            listener.bind(path)
        except OSError as error:
            raise _cannot(path, error) from error
        held.callback(_remove, path)
        yield listener


def _locked(path: str) -> int:
    """The descriptor of a lock file, which this process has.

    :raises OSError: another one has it, or it cannot be made.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed it in between.
            if os.path.samestat(os.fstat(lock), Path(path).stat()):
                return lock
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _clear(path: str) -> None:
    """Remove the socket of a server that has died.

    :raises UnixSocketError: something else is there.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot(path, error) from error
    if not stat.S_ISSOCK(mode):
        message = "{} is there already, and no socket.".format(path)
        raise UnixSocketError(message, "Choose another path with --uds, or remove it.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Not blocking: a server whose queue is full lives, too.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _remove(path)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise _cannot(path, error) from error
    raise _is_served(path)


def _remove(path: str) -> None:
    # On a disk that is read-only by now it stays; nobody has the lock on it.
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _is_served(path: str) -> UnixSocketError:
    message = "Another server serves on {}.".format(path)
    return UnixSocketError(message, "Stop it, or choose another path with --uds.")


def _cannot(path: str, error: OSError) -> UnixSocketError:
    # Too long a path has no error number.
    reason = error.strerror or str(error)
    message = "Cannot serve on {}: {}.".format(path, reason)
    return UnixSocketError(message, "Choose another path with --uds.")
