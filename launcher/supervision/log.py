"""The server's output: shown as it comes, kept in a file, its last lines at hand."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from envs.disk.home import launcher_home, make_private_folder

TAIL_LINES = 20
_LONGEST_LINE = 1 << 16
KEPT_LOGS = 20


class ServerLog:
    """Takes the server's output and keeps it.

    :param path: the log file; its folder is made.
    :param show: called with each chunk of bytes, to show it; None shows nothing.
    :param warn: called with one line when the file cannot be written.
    :param max_size: bytes after which the file is put aside and a new one begun; None for never.
    :param kept: how many files are kept beside it, ``NAME.1`` the newest.
    :param as_line: makes the log's form of a line (without its end); None: as it is printed.

    ``on_write`` is called after each write to the file.
    """

    def __init__(
        self,
        path: Path,
        show: Callable[[bytes], None] | None,
        warn: Callable[[str], None] = lambda _: None,
        *,
        max_size: int | None = None,
        kept: int = 3,
        as_line: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.path = path
        self._show = show
        self._warn = warn
        self._lost = 0
        self.on_write: Callable[[], None] = lambda: None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._rest = b""
        self._unfinished = b""
        self._as_line = as_line
        self._max_size = max_size
        self._kept = kept
        make_private_folder(path.parent)
        self._file: int | None = self._open()

    def write(self, chunk: bytes) -> None:
        """Show ``chunk`` and keep it. A full disk costs lines of the file, not the server."""
        formed = self._formed(chunk)
        if self._show is not None and formed:
            self._show(formed)
        self._keep(chunk, formed)

    def keep(self, chunk: bytes) -> None:
        """Keep ``chunk`` in the file without showing it."""
        self._keep(chunk, self._formed(chunk))

    def _formed(self, chunk: bytes) -> bytes:
        """The chunk as the file has it: where lines take a form, those that are complete."""
        if self._as_line is None:
            return chunk
        *lines, rest = (self._unfinished + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._unfinished = rest
        return b"".join(map(self._as_line, lines))

    def _keep(self, chunk: bytes, formed: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        # A line without an end is kept for the tail only so far.
        self._rest = self._rest[-_LONGEST_LINE:]
        self._tail.extend(line.decode(errors="replace") for line in lines)
        if self._file is None or not formed:
            return
        try:
            if self._max_size is not None and os.fstat(self._file).st_size >= self._max_size:
                self._file = self._turned_over(self._file)
            if self._lost:
                remark = b"[%d bytes could not be written here]" % self._lost
                line = remark + b"\n" if self._as_line is None else self._as_line(remark)
                os.write(self._file, line)
                self._lost = 0
            os.write(self._file, formed)
        except OSError as error:
            if not self._lost:
                self._warn(f"the log {self.path} cannot be written: {error.strerror}")
            self._lost += len(formed)
        else:
            self.on_write()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def _turned_over(self, full: int) -> int:
        """Put the full file aside; the descriptor of a new one."""
        for number in range(self._kept, 0, -1):
            older = _aside(self.path, number)
            newer = _aside(self.path, number - 1) if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        if not self._kept:
            self.path.unlink(missing_ok=True)
        new = self._open()
        # A launcher in the background has the file for its own output, too.
        for output in (1, 2):
            if is_same_file(output, full):
                os.dup2(new, output)
        os.close(full)
        return new

    def tail(self) -> list[str]:
        """The last lines of output, oldest first."""
        rest = self._rest.decode(errors="replace")
        return [*self._tail, *([rest] if rest else [])]

    def close(self) -> None:
        """Close the file; what is written later is shown only. An empty file does not stay."""
        if self._unfinished:
            self.write(b"\n")
        if self._file is not None:
            if os.fstat(self._file).st_size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def is_same_file(one: int, other: int) -> bool:
    """Whether two descriptors are of one file; a closed one is of none."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def log_folder() -> Path:
    """Where the logs of this user's servers are."""
    return launcher_home() / "logs"


def latest_log(folder: Path, name: str) -> Path | None:
    """The log of the last server of that name, None if there is none (any more)."""
    link = _latest(folder, name)
    try:
        path = folder / link.readlink()
    except OSError:
        return None
    # The link is ours, and leads to a neighbour; whatever else stands there is not followed.
    return path if path.parent == folder and path.is_file() else None


def name_latest(log: Path, name: str) -> None:
    """Have ``latest_log`` of a name lead to this log.

    :raises OSError: it cannot be written down.
    """
    link = _latest(log.parent, name)
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(log.name)
    new.replace(link)


def _latest(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def new_log_path(folder: Path, name: str) -> Path:
    """A path for this process's log below ``folder``; of older ones the newest are kept."""
    # Not `name-*`: that would be the logs of `iris-2` as well as those of `iris`.
    ours = re.compile(rf"{re.escape(name)}-\d{{8}}-\d{{6}}-\d+\.log")
    if folder.is_dir():
        found = sorted(path for path in folder.iterdir() if ours.fullmatch(path.name))
        for old in found[: -KEPT_LOGS or None]:
            # Names have no characters of patterns in them.
            for each in (old, *folder.glob(f"{old.name}.*")):
                each.unlink(missing_ok=True)
    return folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
