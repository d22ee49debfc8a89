"""Models on web servers: an archive, or a folder whose index the server shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from launcher.artifacts.http import Client, HTTPStatusError
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.stores.proxied import DEEPEST, MOST_FILES
from launcher.artifacts.transfer.archives import SUFFIXES, is_archive_name
from launcher.artifacts.transfer.download import THREADS, Part, RemoteFile, fetch_over_http
from launcher.artifacts.uris import join, redact

PAGE_LIMIT = 8 * 1024 * 1024
"""Bytes of an index page that are read."""
MAGIC = {
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".tar.gz",
    b"BZh": ".tar.bz2",
    b"\xfd7zXZ\x00": ".tar.xz",
}


class WebFile:
    """A store of one file, an archive at `url`."""

    def __init__(self, client: Client, url: str) -> None:
        self.location = redact(url)
        self._client, self._url = client, url

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        name = unquote(urlsplit(self._url).path.rstrip("/").rpartition("/")[2]) or "archive"
        try:
            # Not HEAD: a link that is signed for GET answers nothing else.
            with self._client.call(lambda: self._client.open(self._url, {}), self._url) as found:
                headers = found.headers
        except HTTPStatusError as error:
            raise refused(error, self._url) from None
        length = headers.get("Content-Length")
        encoded = headers.get("Content-Encoding", "identity") != "identity"
        size = int(length) if length and not encoded else None
        return [RemoteFile(name, size, headers.get("ETag") or headers.get("Last-Modified", ""))]

    def read_head(self, path: str) -> bytes:
        """See Store: the one file has no other in it."""
        raise FileNotFoundError(path)

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        fetch_over_http(self._client, self._url, file.size, part)

    def stop(self) -> None:
        """See Store."""
        self._client.stop()

    def close(self) -> None:
        """See Store."""
        self._client.close()


class WebFolder:
    """The files below `url`, found through the index pages (HTML) of its folders."""

    def __init__(self, client: Client, url: str) -> None:
        self.location = redact(url).rstrip("/")
        self._client, self._url = client, url.rstrip("/")

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        paths: list[str] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            for name in self._index(folder):
                path = f"{folder}/{name}".lstrip("/")
                (folders if name.endswith("/") else paths).append(path.rstrip("/"))
            if len(paths) > MOST_FILES or folder.count("/") > DEEPEST:
                raise ModelURIError(
                    f"Refused: {self.location!r} has too many files or folders in folders.",
                    "Give the folder that holds the file MLmodel.",
                )
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self._described, paths))

    def read_head(self, path: str) -> bytes:
        """See Store."""
        url = join(self._url, path)
        try:
            return self._client.get_bytes(url, PAGE_LIMIT)
        except HTTPStatusError as error:
            raise refused(error, url) from None

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        fetch_over_http(self._client, join(self._url, file.path), file.size, part)

    def stop(self) -> None:
        """See Store."""
        self._client.stop()

    def close(self) -> None:
        """See Store."""
        self._client.close()

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
        encoded = headers.get("Content-Encoding", "identity") != "identity"
        # Servers that make their pages do not always know the length at a HEAD, and say 0.
        size = 0 if encoded else int(headers.get("Content-Length", 0))
        return RemoteFile(
            path, size or None, headers.get("ETag") or headers.get("Last-Modified", "")
        )


def names_in_index(page: str, url: str) -> list[str]:
    """Return the names (folders with a slash at the end) that an index page of `url` links to.

    Only what lies right in that folder: links to other places, upwards and to other orders of
    the same list are not files of it.
    """
    collector = _Links()
    collector.feed(page)
    here, names = urlsplit(url), []
    for link in collector.found:
        there = urlsplit(urljoin(url, link))
        below = there.path[len(here.path) :]
        if (there.scheme, there.netloc) != (here.scheme, here.netloc) or there.query:
            continue
        if not there.path.startswith(here.path) or not below.strip("/"):
            continue
        if "/" not in below.rstrip("/") and unquote(below) not in names:
            names.append(unquote(below))
    return names


def has_model(client: Client, url: str) -> bool:
    """Whether there is a file MLmodel right below `url`. Raises ModelURIError."""
    try:
        start = client.get_bytes(join(url, "MLmodel"), 4096)
    except HTTPStatusError as error:
        if error.status in (401, 403):
            raise refused(error, url) from None
        return False
    # Some servers answer everything with their front page.
    return b"flavors" in start or not start.lstrip().startswith(b"<")


def is_archive(client: Client, url: str) -> bool:
    """Whether the file at `url` is an archive, by name or by its first bytes."""
    if is_archive_name(urlsplit(url).path):
        return True
    try:
        start = client.get_bytes(url, 512)
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
