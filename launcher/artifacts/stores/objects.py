"""Object stores (S3 and those that speak it, Google, Azure) through fsspec and its packages."""

from __future__ import annotations

import os
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from envs.extras import how_to_install
from launcher.artifacts.bodies import BLOCK
from launcher.artifacts.http import Stopped
from launcher.artifacts.settings import flag
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.transfer.download import Part, RemoteFile
from launcher.artifacts.uris import redact

RANGE = 16 * BLOCK
"""Bytes asked for at once; each thread holds so many."""

_AZURE = ("az", "abfs", "abfss", "wasb", "wasbs")
_KINDS = {
    **dict.fromkeys(("s3", "s3a", "s3n", "r2", "b2"), ("s3", "s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcs", "gcsfs", "gcs")),
    **dict.fromkeys(_AZURE, ("abfs", "adlfs", "azure")),
}
"""Scheme -> fsspec's protocol, the package that has it, this project's extra."""

SCHEMES = tuple(_KINDS)

# As MLflow has them: BUCKET@ENDPOINT.
_FORMS = {
    "r2": "r2://BUCKET@ACCOUNT.r2.cloudflarestorage.com/path/of/the/model",
    "b2": "b2://BUCKET@s3.REGION.backblazeb2.com/path/of/the/model",
}

_ENDPOINTS = (
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST",
    "AZURE_STORAGE_ACCOUNT_NAME",
)
# What each store calls a sign of the contents.
_TAGS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "updated")
_SECRET = re.compile(r"(?i)\b(sig|signature|token|key|secret|password|credential)=[^&\s\"']+")


class ObjectStore:
    """The files below `root` in an fsspec filesystem.

    :param location: what people call it.
    """

    def __init__(self, filesystem: Any, root: str, location: str) -> None:
        self.location = location
        self._fs, self._root = filesystem, root.rstrip("/")
        self._stop = threading.Event()

    def list_files(self) -> list[RemoteFile]:
        """See Store. For the path of a file: that one, by its name."""
        try:
            found = self._fs.find(self._root, detail=True)
        except Exception as error:
            raise self._explained(error) from error
        files = []
        for path, info in found.items():
            name = path[len(self._root) :].lstrip("/") or path.rpartition("/")[2]
            # Consoles make empty objects with a slash at the end to show folders.
            if info.get("type") != "directory" and not path.endswith("/"):
                tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
                files.append(RemoteFile(name, info.get("size"), tag))
        return files

    def read_head(self, path: str) -> bytes:
        """See Store."""
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{path}"))
        except Exception as error:
            raise self._explained(error) from error

    def fetch(self, file: RemoteFile, part: Part) -> None:
        """See Store."""
        path = self._root if self._root.endswith(f"/{file.path}") else f"{self._root}/{file.path}"
        if part.validator != file.tag or not file.tag:
            part.restart(file.tag)
        size = file.size
        if size is None:
            raise ModelURIError(f"{self.location!r} tells no sizes.", "Fetch the folder by hand.")
        while part.size < size:
            if self._stop.is_set():
                raise Stopped
            start = part.size
            try:
                block = self._fs.cat_file(path, start=start, end=min(start + RANGE, size))
            except Exception as error:
                raise self._explained(error) from error
            if not block:
                return  # Shorter than listed, which the caller finds.
            part.append(block)

    def stop(self) -> None:
        """See Store."""
        self._stop.set()

    def close(self) -> None:
        """See Store."""

    def _explained(self, error: Exception) -> ModelURIError:
        kind = type(error).__name__
        if isinstance(error, FileNotFoundError):
            return ModelURIError(
                f"There is nothing at {self.location!r}.", "Check the bucket and the path."
            )
        if isinstance(error, PermissionError) or "Forbidden" in kind:
            return ModelURIError(
                f"No permission to read {self.location!r}.",
                "Check the credentials that its command line tools would use.",
            )
        if "Credential" in kind or "DefaultAzureCredential" in str(error):
            return ModelURIError(
                f"There are no credentials for {self.location!r}.",
                "Set them as for the store's own tools (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, "
                "AZURE_STORAGE_*); for a public S3 bucket set FSSPEC_S3_ANON=true.",
            )
        lines = str(error).strip().splitlines()
        detail = _SECRET.sub(r"\1=…", lines[0][:300]) if lines else ""
        return ModelURIError(
            f"{self.location!r} cannot be read ({kind}: {detail}).",
            "Check the address, the store's endpoint setting and the network.",
        )


def endpoint() -> str:
    """Return what the environment says of the server of the object stores, "" when nothing."""
    named = (f"{name}={os.environ[name]}" for name in _ENDPOINTS if os.environ.get(name))
    return " ".join(named)


def open_object_store(uri: str) -> ObjectStore:
    """Return the store for an `s3:`, `r2:`, `b2:`, `gs:`, `az:` or `abfs:` URI.

    :raises ModelURIError: its package is not installed.
    """
    parts = urlsplit(uri)
    protocol, package, extra = _KINDS[parts.scheme.lower()]
    try:
        import fsspec

        fsspec.get_filesystem_class(protocol)
    except ImportError:
        raise ModelURIError(
            f"{parts.scheme}: URIs need the package {package}, which is not installed.",
            f"Install it: {how_to_install(extra)}",
        ) from None
    scheme = parts.scheme.lower()
    bucket, _, host = parts.netloc.partition("@")
    if not bucket or (scheme in _FORMS and (not host or ":" in bucket)):
        form = _FORMS.get(scheme, f"{scheme}://BUCKET/path/of/the/model")
        raise ModelURIError(f"{redact(uri)!r} names no bucket.", f"Write {form}.")
    options: dict[str, Any] = {}
    if scheme in _FORMS:
        options = _s3_like_options(scheme, host)
    elif protocol == "s3":
        options = _s3_options()
    elif protocol == "abfs":
        options = _azure_options(parts.netloc)
    container = bucket if protocol == "abfs" or scheme in _FORMS else parts.netloc
    # Not urlsplit's path: '#' and '?' are ordinary in the names of objects.
    path = uri.partition("://")[2].partition("/")[2].strip("/")
    location = f"{parts.scheme}://{parts.netloc}/{path}".rstrip("/")
    try:
        filesystem = fsspec.filesystem(
            protocol, skip_instance_cache=True, use_listings_cache=False, **options
        )
    except Exception as error:
        raise ObjectStore(None, "", location)._explained(error) from error
    return ObjectStore(filesystem, f"{container}/{path}", location)


def _s3_options() -> dict[str, Any]:
    options: dict[str, Any] = {}
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    if endpoint:
        options["endpoint_url"] = endpoint
    if flag("MLFLOW_S3_IGNORE_TLS"):
        options["client_kwargs"] = {"verify": False}
    return options


def _s3_like_options(scheme: str, host: str) -> dict[str, Any]:
    """Return s3fs' options for Cloudflare's R2 and Backblaze's B2, whose URIs name the server.

    R2 has one region, B2's is part of the server's name.
    https://developers.cloudflare.com/r2/api/s3/api/
    """
    found = re.fullmatch(r"s3\.([a-z0-9-]+)\.backblazeb2\.com", host)
    region = "auto" if scheme == "r2" else found and found[1]
    client: dict[str, Any] = {"region_name": region} if region else {}
    if flag("MLFLOW_S3_IGNORE_TLS"):
        client["verify"] = False
    style = "virtual" if scheme == "r2" else "path"
    return {
        "endpoint_url": f"https://{host}",
        "client_kwargs": client,
        "config_kwargs": {"s3": {"addressing_style": style}},
    }


def _azure_options(netloc: str) -> dict[str, Any]:
    """Return adlfs' options: the account from CONTAINER@ACCOUNT.…, the key MLflow reads."""
    options: dict[str, Any] = {}
    account = netloc.partition("@")[2].partition(".")[0]
    if account:
        options["account_name"] = account
    key = os.environ.get("AZURE_STORAGE_ACCESS_KEY")
    if key:
        options["account_key"] = key
    return options
