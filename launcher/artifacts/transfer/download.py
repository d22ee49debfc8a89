"""Brings the files of a store into a folder: several at a time, resumed, sizes verified."""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from envs.disk.home import make_private_folder, open_private
from launcher.artifacts.bodies import BLOCK, body_of
from launcher.artifacts.http import Client, HTTPStatusError
from launcher.artifacts.source import ModelURIError, Report, refuse_size, silent
from launcher.artifacts.uris import join
from launcher.console import Progress
from launcher.quantities import format_size

if TYPE_CHECKING:
    import requests

THREADS = 8
MOST_FILES = 100_000
"""Files and folders that a model in a store may have."""
Count = Callable[[int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file in a store."""

    path: str
    """Relative to the model's folder, with slashes."""
    size: int | None
    """In bytes; None where the store does not tell."""
    tag: str = ""
    """Something the store changes with the contents (an ETag, a time), where it tells."""


class Part:
    """A file that is being fetched. What is on the disk of it survives the process.

    `path` holds the bytes so far; beside it lies the validator that the server gave with them,
    so that only bytes of the same contents are ever put together.
    """

    def __init__(self, path: Path, count: Count) -> None:
        self.path = path
        self._validator_path = path.with_suffix(".validator")
        self._count = count
        self._file = open(path, "ab", BLOCK, opener=open_private)  # noqa: SIM115 - until close
        self.size = path.stat().st_size
        """Bytes so far."""
        self.furthest = self.size
        """The most bytes there ever were: an attempt that got no further was in vain."""
        found = self._validator_path
        self.validator = found.read_text() if self.size and found.exists() else ""
        """What the server identified these contents with, "" when it did not."""
        self._count(self.size)

    def restart(self, validator: str = "") -> None:
        """Forget the bytes so far; what comes now is identified by `validator`."""
        self._count(-self.size)
        self._file.seek(0)
        self._file.truncate()
        self.size, self.validator = 0, validator
        with open(self._validator_path, "w", opener=open_private) as file:
            file.write(validator)

    def append(self, block: bytes) -> None:
        """Put `block` at the end."""
        self._file.write(block)
        self.size += len(block)
        self.furthest = max(self.furthest, self.size)
        self._count(len(block))

    def close(self) -> None:
        """Write what is left to the disk."""
        self._file.close()


class Store(Protocol):
    """A place with the files of one model."""

    location: str
    """For messages and cache keys: without passwords."""

    def list_files(self) -> list[RemoteFile]:
        """Return all files, at any depth.

        :raises ModelURIError: it cannot be read, or is refused.
        """

    def read_head(self, path: str) -> bytes:
        """Return the contents of a small file.

        :raises ModelURIError: it cannot be read, or is refused.
        """

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """Complete `part`.

        :raises ModelURIError: it cannot be read, or is refused.
        :raises Stopped: `stop` was called.
        """

    def stop(self) -> None:
        """Make what is under way in other threads end soon."""

    def close(self) -> None:
        """Release connections."""


class _Limited:
    """Counts the bytes of all files as they come, whatever the store said of their sizes."""

    def __init__(self, progress: Progress, max_model_size: int | None) -> None:
        self._progress, self._max = progress, max_model_size
        self._lock = threading.Lock()
        self._total = 0

    def add(self, count: int) -> None:
        """Count `count` more bytes.

        :raises ModelURIError: it is more than is allowed.
        """
        with self._lock:
            self._total += count
            refuse_size(self._total, self._max)
        self._progress.add(count)


def download(
    store: Store,
    files: Sequence[RemoteFile],
    folder: Path,
    parts: Path,
    report: Report,
    max_model_size: int | None,
) -> None:
    """Fetch `files` of `store` into `folder`, keeping what is incomplete in `parts`.

    Files that are in `folder` already are taken as they are.

    :raises ModelURIError: one cannot be fetched, or there are more than `max_model_size` bytes.
    """
    total = sum(file.size or 0 for file in files)
    wanted = []
    with Progress("Fetching", total, shown=report is not silent) as bar:
        progress = _Limited(bar, max_model_size)
        for file in files:
            target = folder / file.path
            if target.is_file() and file.size in (None, target.stat().st_size):
                progress.add(target.stat().st_size)
            else:
                wanted.append(file)
        make_private_folder(parts)
        # The largest first, so that no long one is left alone at the end.
        wanted.sort(key=lambda file: file.size or 0, reverse=True)
        _in_threads(
            lambda file: _fetch_one(store, file, folder, parts, progress.add), wanted, store
        )


def check_room(files: Sequence[RemoteFile], folder: Path, max_model_size: int | None) -> None:
    """Check that `folder` has room; what it has of `files` from an earlier attempt needs none.

    :raises ModelURIError: they are larger than allowed, or than the disk's free space.
    """
    total = sum(file.size or 0 for file in files)
    refuse_size(total, max_model_size)
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if total - there > free:
        raise ModelURIError(
            f"The model has {format_size(total)}, but {str(folder)!r} only has "
            f"{format_size(free)} free.",
            "Make room (`launcher models prune`), or set LAUNCHER_HOME to a folder elsewhere.",
        )


def refuse_count(count: int, location: str) -> None:
    """Refuse a list with more files and folders than any model has.

    :raises ModelURIError: it is such a list.
    """
    if count > MOST_FILES:
        raise ModelURIError(
            f"Refused: {location!r} has too many files or folders in folders.",
            "Give the folder that holds the file MLmodel.",
        )


class HttpStore:
    """What stores have in common whose files are below `url`; see Store.

    :param explained: makes the error for a person of an answer and its URL.
    """

    def __init__(
        self, client: Client, url: str, explained: Callable[[HTTPStatusError, str], ModelURIError]
    ) -> None:
        self._client, self._url, self._explained = client, url, explained

    def read_head(self, path: str) -> bytes:
        """See Store."""
        url = join(self._url, path)
        try:
            return self._client.get_bytes(url)
        except HTTPStatusError as error:
            raise self._explained(error, url) from None

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        fetch_over_http(self._client, join(self._url, file.path), file.size, part)

    def stop(self) -> None:
        """See Store."""
        self._client.stop()

    def close(self) -> None:
        """See Store."""
        self._client.close()


def fetch_over_http(client: Client, url: str, size: int | None, part: Part) -> None:
    """Complete `part` from `url`, from where it stopped if the server can.

    A server that does not know ranges (or whose file has changed) sends all of it again.

    :raises ModelURIError: it cannot be read, or is refused.
    """
    if part.size and not part.validator:
        part.restart()  # Left by another process: nothing tells that the rest still fits.
    client.call(lambda: _continue_over_http(client, url, size, part), url, lambda: part.furthest)


def _continue_over_http(client: Client, url: str, size: int | None, part: Part) -> None:
    have = part.size
    if have and have == size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and part.validator:
        headers["If-Range"] = part.validator
    with client.open(url, headers) as response:
        if response.status_code != 206 or not _continues(response, have):
            if response.status_code in (206, 416):
                part.restart()
                raise ConnectionError("the server sent another range than the one asked for")
            part.restart(_validator_of(response))
        for block in body_of(response):
            client.check_stopped()
            part.append(block)
            if size is not None and part.size > size:
                raise _changed(url)
    if size is not None and part.size < size:
        raise ConnectionError("the body ended early: incompleteread")


def _continues(response: requests.Response, have: int) -> bool:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return False  # A range of the encoded bytes, while those on the disk are decoded.
    # RFC 9110, section 14.4: Content-Range: bytes FIRST-LAST/LENGTH
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _validator_of(response: requests.Response) -> str:
    """Return what an If-Range header can take: RFC 9110, section 13.1.5: no weak tag."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return ""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified", "")


def _changed(url: str) -> ModelURIError:
    name = url.rpartition("/")[2].partition("?")[0]
    return ModelURIError(
        f"The file {name!r} has another size than the store said.",
        "It was written while it was fetched, or is damaged: try again, or log the model again.",
    )


def _fetch_one(store: Store, file: RemoteFile, folder: Path, parts: Path, count: Count) -> None:
    part = Part(parts / hashlib.sha256(file.path.encode()).hexdigest()[:24], count)
    try:
        store.fetch(file, part)
    except HTTPStatusError as error:
        raise ModelURIError(
            f"The file {file.path!r} in {store.location!r} cannot be fetched ({error}).",
            "Try again; if it stays, log the model again.",
        ) from None
    finally:
        part.close()
    if file.size is not None and part.size != file.size:
        raise _changed(file.path)
    target = folder / file.path
    make_private_folder(target.parent)
    os.replace(part.path, target)  # noqa: PTH105 - says that it is atomic
    part.path.with_suffix(".validator").unlink(missing_ok=True)


def _in_threads(
    work: Callable[[RemoteFile], None], files: Sequence[RemoteFile], store: Store
) -> None:
    """Do `work` for each file; raise the first error after telling the others to stop.

    Daemon threads rather than an executor: one that waits for a dead server must not keep the
    process from ending when it is told to.
    """
    waiting: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    for file in files:
        waiting.put(file)
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(file)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                done.put(error)
                return
            done.put(None)

    for _ in range(min(THREADS, len(files))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in files:
            error = done.get()
            if error is not None:
                raise error
    except BaseException:
        stopping.set()
        store.stop()
        raise
