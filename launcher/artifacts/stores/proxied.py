"""Artifacts that a tracking server hands out itself: `mlflow-artifacts:` URIs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from launcher.artifacts.http import Client, HTTPStatusError, not_as_mlflow
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.tracking.rest import explained
from launcher.artifacts.transfer.download import HttpStore, RemoteFile, refuse_count
from launcher.artifacts.uris import join, redact, require_inside, require_storable

API = "/api/2.0/mlflow-artifacts/artifacts"


def proxy_url(uri: str, tracking: str) -> tuple[str, str]:
    """Return the URL of the server's artifact API, and the path below it that `uri` means.

    `mlflow-artifacts:/path` and `mlflow-artifacts:///path` mean the server at `tracking`;
    `mlflow-artifacts://host:port/path` another one, with the same scheme and path prefix.
    `http(s)://…/api/2.0/mlflow-artifacts/artifacts/path` says it all itself.

    :raises ModelURIError: `tracking` is needed and is no web address.
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


class ProxiedStore(HttpStore):
    """The folder `root` of the artifacts that the server hands out at `api`."""

    def __init__(self, client: Client, api: str, root: str) -> None:
        self.location = join(api, root)
        super().__init__(client, self.location, explained)
        self._api, self._root = api, root

    def list_files(self) -> list[RemoteFile]:
        """See Store."""
        files: list[RemoteFile] = []
        folders = [""]
        seen = 0
        while folders:
            folder = folders.pop()
            entries = self._list(folder)
            seen += len(entries)
            refuse_count(seen, self.location)
            for name, is_folder, size in entries:
                path = require_storable(f"{folder}/{name}".lstrip("/"), self.location)
                if is_folder:
                    folders.append(path)
                else:
                    files.append(RemoteFile(path, size))
        return files

    def _list(self, folder: str) -> list[tuple[str, bool, int | None]]:
        """Return name, whether it is a folder, and size (where told) of what is in `folder`."""
        path = "/".join(part for part in (self._root, folder) if part)
        try:
            answer = self._client.get_json(self._api, {"path": path} if path else None)
        except HTTPStatusError as error:
            # A folder that is not there: 404 of newer servers, 500 of older ones.
            if error.status in (404, 500) and error.code:
                return []
            raise explained(error, self._api) from None
        try:
            return [self._entry(**entry) for entry in answer.get("files", [])]
        except (AttributeError, TypeError, ValueError):
            raise not_as_mlflow(self._api) from None

    def _entry(
        self, path: str, is_dir: bool = False, file_size: str | int | None = None, **_more: Any
    ) -> tuple[str, bool, int | None]:
        if "/" in path or not path:
            raise ModelURIError(
                f"Refused: the list of {self.location!r} has {path[:100]!r}, which is outside of "
                "it.",
                "The store is damaged or hostile; nothing was fetched.",
            )
        return path, is_dir, None if file_size is None else max(0, int(file_size))
