"""Models on web servers: an archive, or a folder whose index the server shows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from launcher.artifacts.http import Client, HTTPStatusError
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.transfer.archives import SUFFIXES, is_archive_name
from launcher.artifacts.transfer.download import (
    THREADS,
    HttpStore,
    Part,
    RemoteFile,
    fetch_over_http,
    refuse_count,
)
from launcher.artifacts.uris import join, redact, require_storable

PAGE_LIMIT = 8 * 1024 * 1024
"""Bytes of an index page that are read."""
MAGIC = {
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".tar.gz",
    b"BZh": ".tar.bz2",
    b"\xfd7zXZ\x00": ".tar.xz",
}


class WebFile(HttpStore):
    """A store of one file, an archive at `url`."""

    def __init__(self, client: Client, url: str) -> None:
        super().__init__(client, url, refused)
        self.location = redact(url)

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        name = unquote(urlsplit(self._url).path).rstrip("/").rpartition("/")[2] or "archive"
        try:
            # Not HEAD: a link that is signed for GET answers nothing else.
            with self._client.call(lambda: self._client.open(self._url, {}), self._url) as found:
                headers = found.headers
        except HTTPStatusError as error:
            raise refused(error, self._url) from None
        return [_described(name, headers)]

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store: the one file is not below the URL, but there."""
        fetch_over_http(self._client, self._url, file.size, part)


class WebFolder(HttpStore):
    """The files below `url`, found through the index pages (HTML) of its folders."""

    def __init__(self, client: Client, url: str) -> None:
        super().__init__(client, url.rstrip("/"), refused)
        self.location = redact(url).rstrip("/")

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        paths: list[str] = []
        folders = [""]
        seen = 0
        while folders:
            folder = folders.pop()
            names = self._index(folder)
            seen += len(names)
            refuse_count(seen, self.location)
            for name in names:
                path = require_storable(f"{folder}/{name}".strip("/"), self.location)
                (folders if name.endswith("/") else paths).append(path)
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self._described, paths))

    def _index(self, folder: str) -> list[str]:
        url = join(self._url, folder) + "/"
        try:
            page = self._client.get_bytes(url, PAGE_LIMIT)
        except HTTPStatusError:
            page = b""
        names = names_in_index(page.decode("utf-8", "replace"), url)
        if not names and not folder:
            raise ModelURIError(
                f"The server shows no list of the files in {self.location!r}.",
                f"Pack the model into an archive ({', '.join(SUFFIXES)}) and give its URL.",
            )
        return names

    def _described(self, path: str) -> RemoteFile:
        try:
            headers = self._client.headers_of(join(self._url, path))
        except HTTPStatusError:  # A server that knows no HEAD: then the size stays unknown.
            return RemoteFile(path, None)
        # Servers that make their pages do not always know the length at a HEAD, and say 0.
        return _described(path, headers, known=headers.get("Content-Length") != "0")


def _described(path: str, headers: Mapping[str, str], *, known: bool = True) -> RemoteFile:
    length = headers.get("Content-Length", "")
    known = known and headers.get("Content-Encoding", "identity") == "identity"
    size = int(length) if known and length.isdecimal() else None
    return RemoteFile(path, size, headers.get("ETag") or headers.get("Last-Modified", ""))


def names_in_index(page: str, url: str) -> list[str]:
    """Return the names (folders with a slash at the end) that an index page of `url` links to.

    Only what lies right in that folder: links to other places, upwards and to other orders of
    the same list are not files of it.
    """
    collector = _Links()
    collector.feed(page)
    here = urlsplit(url)
    names: dict[str, None] = {}
    for link in collector.found:
        try:
            there = urlsplit(urljoin(url, link))
        except ValueError:  # no address at all, so no file of this folder
            continue
        below = there.path[len(here.path) :]
        if (there.scheme, there.netloc) != (here.scheme, here.netloc) or there.query:
            continue
        if not there.path.startswith(here.path) or "/" in below.rstrip("/") or not below.strip("/"):
            continue
        name = unquote(below)
        if "/" in name.rstrip("/") or not name.strip("/"):
            raise ModelURIError(
                f"Refused: the list of {redact(url)!r} has {name[:100]!r}, which is outside of it.",
                "The server is damaged or hostile; nothing was fetched.",
            )
        names[name] = None
    return list(names)


def has_model(client: Client, url: str) -> bool:
    """Whether there is a file MLmodel right below `url`.

    :raises ModelURIError: the server does not permit to read it, or does not answer.
    """
    try:
        start = client.start_of(join(url, "MLmodel"), 4096)
    except HTTPStatusError as error:
        if error.status in (401, 403):
            raise refused(error, url) from None
        return False
    # Some servers answer everything with their front page.
    return b"flavors" in start or not start.lstrip().startswith(b"<")


def is_archive(client: Client, url: str) -> bool:
    """Whether the file at `url` is an archive, by name or by its first bytes.

    :raises ModelURIError: there is none, or it may not be read.
    """
    if is_archive_name(urlsplit(url).path):
        return True
    try:
        start = client.start_of(url, 512)
    except HTTPStatusError as error:
        raise refused(error, url) from None
    return any(start.startswith(sign) for sign in MAGIC) or start[257:262] == b"ustar"


def refused(error: HTTPStatusError, url: str) -> ModelURIError:
    """Return what to tell a person about a web server's refusal."""
    if error.status in (401, 403):
        return ModelURIError(
            f"The server does not permit to read {redact(url)!r} ({error.status}).",
            "Put user name and password into the URL or into ~/.netrc, or renew a signed link.",
        )
    if error.status in (404, 410):
        return ModelURIError(f"There is nothing at {redact(url)!r}.", "Check the URL.")
    return ModelURIError(f"{redact(url)!r} was answered with {error.status}.", "Try again later.")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
