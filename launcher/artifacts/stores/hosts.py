"""Folders on hosts that are reached by a connection of their own: what FTP and SFTP share."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from launcher.artifacts.bodies import METADATA_LIMIT
from launcher.artifacts.http import LONGEST_PAUSE, Patience, Stopped, Unanswered
from launcher.artifacts.source import ModelURIError, Report
from launcher.artifacts.transfer.download import Part, RemoteFile, refuse_count
from launcher.artifacts.uris import origin_of, require_storable

Result = TypeVar("Result")

CONNECTIONS = 4
"""At once; hosts rarely allow as many as web servers do."""


class Dropped(Exception):
    """The connection has ended, or no answer came; a new one may do better."""


class Crowded(Dropped):
    """The host takes no more connections."""


class CannotResume(Exception):
    """The host sends whole files only."""


class Found(NamedTuple):
    """A file or folder on a host; size in bytes, None where the host does not tell."""

    name: str
    is_folder: bool
    size: int | None = None
    tag: str = ""


class Connection(Protocol):
    """A connection to a host. One thread uses it at a time; all methods may raise Dropped."""

    def look(self, path: str) -> Found | None:
        """What is at an absolute path; None where nothing is."""

    def entries(self, path: str) -> Iterator[Found]:
        """What is in a folder.

        :raises ModelURIError: it cannot be read, or has more than a model may have.
        """

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """The bytes of a file from `start` on.

        :raises ModelURIError: it cannot be read.
        :raises CannotResume: not from there.
        """

    def close(self) -> None:
        """End it."""


class Address(NamedTuple):
    """What a URI says of a host and of who asks it."""

    host: str
    port: int | None
    username: str | None
    password: str | None
    path: str
    """Absolute, as it stands there: neither '%', '?' nor '#' mean anything."""

    @classmethod
    def of(cls, uri: str) -> Address:
        """Take `SCHEME://USER:PASSWORD@HOST:PORT/path` apart.

        :raises ModelURIError: it is of another form.
        """
        parts = urlsplit(uri)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        named, _, path = uri.partition("://")[2].partition("/")
        path = path.rstrip("/")
        blank = any(map(str.isspace, named)) or "\n" in path or "\r" in path
        if not host or named != parts.netloc or blank:
            scheme = parts.scheme.lower()
            raise ModelURIError(
                f"The {scheme}: URI names no host.",
                f"Write {scheme}://USER@HOST/path/of/the/model.",
            )
        user, password = parts.username, parts.password
        return cls(host, port, user and unquote(user), password and unquote(password), f"/{path}")


class HostStore:
    """The files below a folder on a host, or one file there; see Store.

    :param connect: makes a connection; raises what its methods raise.
    :param location: for messages: without passwords.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        location: str,
        root: str,
        patience: Patience,
        report: Report,
    ) -> None:
        self.location = location
        self._root = root.rstrip("/")
        self._is_file = False
        self._patience, self._report = patience, report
        self._stop = threading.Event()
        self._pool = _Pool(connect)

    def list_files(self) -> list[RemoteFile]:
        """See Store. For the path of a file: that one, by its name."""
        root = self._call(lambda connection: connection.look(self._root or "/"))
        if root is None:
            raise ModelURIError(f"There is nothing at {self.location!r}.", "Check the path.")
        if not root.is_folder:
            self._is_file = True
            return [RemoteFile(self._root.rpartition("/")[2], root.size, root.tag)]
        files: list[RemoteFile] = []
        folders = [""]
        seen = 0
        while folders:
            folder = folders.pop()
            for found in self._entries(folder):
                seen += 1
                refuse_count(seen, self.location)
                # A name with a slash is of another folder.
                name = found.name if "/" not in found.name else f"/{found.name}"
                path = require_storable(f"{folder}/{name}" if folder else name, self.location)
                if found.is_folder:
                    folders.append(path)
                else:
                    files.append(RemoteFile(path, found.size, found.tag))
        return files

    def _entries(self, folder: str) -> list[Found]:
        path = f"{self._root}/{folder}".rstrip("/") or "/"

        return self._call(lambda connection: list(connection.entries(path)))

    def read_head(self, path: str) -> bytes:
        """See Store."""

        def whole(connection: Connection) -> bytes:
            content = bytearray()
            for block in connection.read(f"{self._root}/{path}", 0):
                content += block
                if len(content) > METADATA_LIMIT:
                    raise ModelURIError(
                        f"Refused: {path} in {self.location!r} is larger than any model's.",
                        "The host is damaged or hostile; nothing was fetched.",
                    )
            return bytes(content)

        return self._call(whole)

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        path = self._root if self._is_file else f"{self._root}/{file.path}"
        if part.validator != file.tag or not file.tag:
            part.restart(file.tag)

        def complete(connection: Connection) -> None:
            if file.size is not None and part.size >= file.size:
                return
            try:
                for block in connection.read(path, part.size):
                    self._check_stopped()
                    part.append(block)
                    if file.size is not None and part.size > file.size:
                        return  # Longer than listed, which the caller finds.
            except CannotResume:
                part.restart(file.tag)
                raise Dropped("it sends whole files only") from None
            if file.size is not None and part.size < file.size:
                raise Dropped(f"{file.path} ended early")

        self._call(complete, lambda: part.furthest)

    def stop(self) -> None:
        """See Store."""
        self._stop.set()

    def close(self) -> None:
        """See Store."""
        self._pool.close()

    def _call(
        self, work: Callable[[Connection], Result], progress: Callable[[], int] = lambda: 0
    ) -> Result:
        """Return what `work` returns, trying again on another connection where one was dropped.

        Attempts that moved `progress` (a number of bytes) on do not count as failed ones.

        :raises Unanswered: none of them held.
        """
        failures, before = 0, progress()
        while True:
            self._check_stopped()
            try:
                with self._pool.lease() as connection:
                    return work(connection)
            except Dropped as error:
                if failures >= self._patience.retries:
                    raise Unanswered(
                        f"The host at {origin_of(self.location)!r} does not answer ({error}).",
                        "Check that it runs and can be reached from here; "
                        "MLFLOW_HTTP_REQUEST_TIMEOUT (seconds) and MLFLOW_HTTP_REQUEST_MAX_RETRIES "
                        "give a slow one more time.",
                    ) from None
                reason = error
            after = progress()
            failures, before = (0 if after > before else failures + 1), after
            if failures == 2:
                self._report(
                    f"No good answer from {origin_of(self.location)} ({reason}); trying again."
                )
            pause = self._patience.backoff * 2 ** max(0, failures - 1) * random.uniform(0.8, 1.2)
            self._stop.wait(min(LONGEST_PAUSE, pause))

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise Stopped


class _Pool:
    """Connections that are kept for the next who needs one."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: list[Connection] = []
        self._count, self._most = 0, CONNECTIONS
        self._changed = threading.Condition()

    @contextmanager
    def lease(self) -> Iterator[Connection]:
        """A connection for a block; one that an exception leaves is not used again."""
        connection = self._take()
        try:
            yield connection
        except BaseException:
            connection.close()
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._idle.append(connection)
            self._changed.notify()

    def _take(self) -> Connection:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._idle or self._count < self._most)
                if self._idle:
                    return self._idle.pop()
                self._count += 1
            try:
                return self._connect()
            except BaseException as error:
                with self._changed:
                    self._count -= 1
                    alone = self._count == 0
                    if isinstance(error, Crowded) and not alone:
                        self._most = self._count  # the others will do
                    self._changed.notify()
                if not isinstance(error, Crowded) or alone:
                    raise

    def close(self) -> None:
        """Close those that nobody has."""
        with self._changed:
            while self._idle:
                self._idle.pop().close()
                self._count -= 1
