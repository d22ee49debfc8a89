"""Artifacts that a tracking server hands out itself: `mlflow-artifacts:` URIs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from launcher.artifacts.http import Client, HTTPStatusError
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.tracking.rest import explained
from launcher.artifacts.transfer.download import Part, RemoteFile, fetch_over_http
from launcher.artifacts.uris import join, redact, require_inside

API = "/api/2.0/mlflow-artifacts/artifacts"
DEEPEST = 32
MOST_FILES = 100_000


def proxy_url(uri: str, tracking: str) -> tuple[str, str]:
    """Return the URL of the server's artifact API, and the path below it that `uri` means.

    `mlflow-artifacts:/path` and `mlflow-artifacts:///path` mean the server at `tracking`;
    `mlflow-artifacts://host:port/path` another one, with the same scheme and path prefix.
    `http(s)://…/api/2.0/mlflow-artifacts/artifacts/path` says it all itself.

    Raises ModelURIError when `tracking` is needed and is no web address.
    """
    parts, server = urlsplit(uri), urlsplit(tracking)
    prefix, found, path = parts.path.partition(API)
    if found and parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}{prefix}{API}", _checked(path, uri)
    if server.scheme not in ("http", "https"):
        raise ModelURIError(
            f"The files of {redact(uri)!r} are kept by a tracking server, and the tracking URI "
            f"is {redact(tracking)!r}.",
            "Set MLFLOW_TRACKING_URI to the server's address, for example http://HOST:5000.",
        )
    host = parts.netloc or server.netloc
    # Everything after the colon is the path, '#' and '?' too.
    rest = uri.partition(":")[2]
    path = rest[2:].partition("/")[2] if rest.startswith("//") else rest
    return f"{server.scheme}://{host}{server.path.rstrip('/')}{API}", _checked(path, uri)


def _checked(path: str, uri: str) -> str:
    return require_inside(path.strip("/"), uri)


class ProxiedStore:
    """The folder `root` of the artifacts that the server hands out at `api`."""

    def __init__(self, client: Client, api: str, root: str) -> None:
        self.location = join(api, root)
        self._client, self._api, self._root = client, api, root

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        files: list[RemoteFile] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in self._list(folder):
                path = f"{folder}/{entry['path']}".lstrip("/")
                self._require_name(entry["path"], path)
                if entry.get("is_dir"):
                    folders.append(path)
                else:
                    size = entry.get("file_size")
                    files.append(RemoteFile(path, None if size is None else int(size)))
            if len(files) > MOST_FILES or folder.count("/") > DEEPEST:
                raise ModelURIError(
                    f"Refused: {self.location!r} has too many files or folders in folders.",
                    "Give the folder that the model was logged to.",
                )
        return files

    def read_head(self, path: str) -> bytes:
        """See Store."""
        url = join(self.location, path)
        try:
            return self._client.get_bytes(url, limit=64 * 1024 * 1024)
        except HTTPStatusError as error:
            raise explained(error, url) from None

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        fetch_over_http(self._client, join(self.location, file.path), file.size, part)

    def stop(self) -> None:
        """See Store."""
        self._client.stop()

    def close(self) -> None:
        """See Store."""
        self._client.close()

    def _list(self, folder: str) -> list[dict[str, Any]]:
        path = "/".join(part for part in (self._root, folder) if part)
        try:
            answer = self._client.get_json(self._api, {"path": path} if path else None)
        except HTTPStatusError as error:
            # A folder that is not there: 404 of newer servers, 500 of older ones.
            if error.status in (404, 500) and error.code:
                return []
            raise explained(error, self._api) from None
        files: list[dict[str, Any]] = answer.get("files", [])
        return files

    def _require_name(self, name: str, path: str) -> None:
        try:
            require_inside(name, path)
        except ModelURIError:
            bad = True
        else:
            bad = not name or "/" in name
        if bad:
            raise ModelURIError(
                f"Refused: the list of {self.location!r} has {path!r}, which is outside of it.",
                "The store is damaged or hostile; nothing was fetched.",
            )
