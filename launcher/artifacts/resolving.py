"""Resolves every URI that is not simply a folder on this machine's disk."""

from __future__ import annotations

import errno
import time
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from envs.disk.home import launcher_home
from launcher.artifacts import local
from launcher.artifacts.http import Client, Settings, Unanswered
from launcher.artifacts.leads import Stores, follow
from launcher.artifacts.settings import (
    registry_uri,
    server_settings,
    tracking_uri,
    web_settings,
    without_credentials,
)
from launcher.artifacts.source import ModelSource, ModelURIError, NotAModel
from launcher.artifacts.stores.objects import SCHEMES as OBJECT_SCHEMES
from launcher.artifacts.stores.objects import endpoint, open_object_store
from launcher.artifacts.stores.proxied import API, ProxiedStore, proxy_url
from launcher.artifacts.transfer.archives import is_archive_name
from launcher.artifacts.transfer.cache import Cache, Entry, key_of
from launcher.artifacts.transfer.download import Store
from launcher.artifacts.transfer.fetching import Context, Lead, fetch
from launcher.artifacts.uris import HOST_SCHEMES, join, origin_of, redact, scheme_of

SUPPORTED = (
    "a folder, a .zip or .tar.gz file, or a URI: file:, runs:/, models:/, mlflow-artifacts:/, "
    "s3://, r2://, b2://, gs://, az://, abfs://, hdfs://, sftp://, ftp://, http(s)://"
)
_LOCAL = ("", "file")
_STORED = ("runs", "models")
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@cache
def cache_at(root: Path) -> Cache:
    """Return this process's view of the cache; it holds the marks of the models in use."""
    return Cache(root)


def this_cache() -> Cache:
    """Return the cache below the launcher's home."""
    return cache_at(launcher_home() / "models")


def resolve(uri: str, context: Context) -> ModelSource:
    """Return the model that `uri` leads to.

    :raises ModelURIError: it leads to none, or to one that is refused.
    """
    _require_supported(uri)
    try:
        if scheme_of(uri) in _LOCAL:  # An archive: a folder does not come here.
            return _open_archive(uri, context)
        return _resolve_remote(uri, context)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise ModelURIError(
            f"The cache {str(context.cache.root)!r} cannot be written: {error.strerror}.",
            "Make room (`launcher models prune`), or set LAUNCHER_HOME to a folder elsewhere.",
        ) from error


def _resolve_remote(uri: str, context: Context) -> ModelSource:
    uri_key = _uri_key(uri)
    recalled = context.cache.recall(uri_key)
    if context.offline:
        return _recall(uri, recalled, context)
    try:
        source = _ask(uri, context)
    except Unanswered as error:
        return _without_answer(uri, recalled, context, error)
    if context.cache.root in source.path.parents:
        context.cache.remember(uri_key, source.revision, immutable=source.immutable)
    return source


def _ask(uri: str, context: Context) -> ModelSource:
    stores = Stores(context.report)
    lead = follow(uri, stores)
    try:
        if scheme_of(lead.location) in _LOCAL:
            return _in_place(lead, context)
        return _source(lead, _fetched(lead, context))
    except NotAModel as error:
        if lead.around is None:
            raise
        raise _not_in_run(lead, context, error) from None


def _in_place(lead: Lead, context: Context) -> ModelSource:
    path = local.path_of(lead.location)
    if not path.is_dir() and scheme_of(tracking_uri()) in ("http", "https"):
        raise ModelURIError(
            f"The files of {lead.uri!r} are in the folder {str(path)!r} of the tracking server's "
            "machine, which is not on this one.",
            "Run the server with --artifacts-destination in place of --default-artifact-root, and "
            "log the model again; or mount that folder here.",
        )
    found = local.open_folder(lead.uri, path, context.max_model_size)
    revision = key_of("in place", str(path), lead.stamp) if lead.stamp else found.revision
    return ModelSource(lead.uri, found.path, lead.name, lead.version, lead.immutable, revision)


def _fetched(lead: Lead, context: Context) -> Entry:
    location = lead.location
    if scheme_of(location) in (*OBJECT_SCHEMES, *HOST_SCHEMES) and is_archive_name(location):
        from launcher.artifacts.transfer.packed import fetch_packed

        return fetch_packed(lead, place_of(location), _open_store(location, context), context)
    if scheme_of(location) in ("http", "https") and API not in urlsplit(location).path:
        return _fetched_from_web(lead, context)
    return fetch(lead, place_of(location), lambda: _open_store(location, context), context)


def _fetched_from_web(lead: Lead, context: Context) -> Entry:
    from launcher.artifacts.stores.web import WebFile, WebFolder, has_model, is_archive
    from launcher.artifacts.transfer.packed import fetch_packed

    url = without_credentials(lead.location)[0]
    client = Client(web_settings(lead.location), context.report)
    named, query = is_archive_name(urlsplit(url).path), urlsplit(url).query
    if not named and not query and has_model(client, url):
        return fetch(lead, redact(url), lambda: WebFolder(client, url), context)
    if is_archive(client, url):
        return fetch_packed(lead, redact(url), WebFile(client, url), context)
    raise NotAModel(
        f"{redact(url)!r} is neither an archive nor a folder with a file MLmodel.",
        "Give the URL of a .zip or .tar.gz file, or of the folder that holds MLmodel.",
    )


def _open_store(location: str, context: Context) -> Store:
    scheme = scheme_of(location)
    if scheme in OBJECT_SCHEMES:
        return open_object_store(location)
    if scheme == "ftp":
        from launcher.artifacts.stores.ftp import open_ftp_store

        return open_ftp_store(location, context.report)
    if scheme == "sftp":
        from launcher.artifacts.stores.sftp import open_sftp_store

        return open_sftp_store(location, context.report)
    if scheme in ("hdfs", "viewfs"):
        from launcher.artifacts.stores.hadoop import open_hadoop_store

        return open_hadoop_store(location, context.report)
    if scheme in ("mlflow-artifacts", "http", "https"):
        api, root = _proxied(location)
        return ProxiedStore(Client(_proxy_settings(api), context.report), api, root)
    raise ModelURIError(
        f"The files are at {redact(location)!r}; a store of that kind is not supported.",
        f"Copy the model to a place that is: {SUPPORTED}.",
    )


def place_of(location: str) -> str:
    """Return `location` together with the server that answers for it, for keys of the cache.

    `mlflow-artifacts:/1/r/artifacts` is another folder on each tracking server.

    :raises ModelURIError: there is no such server.
    """
    scheme = scheme_of(location)
    if scheme == "mlflow-artifacts":
        return join(*_proxied(location))
    place = redact(location)
    return f"{place} {endpoint()}".rstrip() if scheme in OBJECT_SCHEMES else place


def _proxied(location: str) -> tuple[str, str]:
    scheme = scheme_of(location)
    tracking = tracking_uri() if scheme == "mlflow-artifacts" else location
    return proxy_url(without_credentials(location)[0], without_credentials(tracking)[0])


def _proxy_settings(api: str) -> Settings:
    """Return the settings of the known server that `api` is on: no other gets credentials."""
    for uri in (tracking_uri(), registry_uri()):
        known = scheme_of(uri) in ("http", "https")
        if known and origin_of(uri) == origin_of(api):
            return server_settings(uri)
    return web_settings(api)


def _open_archive(uri: str, context: Context) -> ModelSource:
    from launcher.artifacts.transfer.packed import open_local

    lead = Lead(uri, uri)
    return _source(lead, open_local(local.path_of(uri), lead, context))


def _source(lead: Lead, entry: Entry) -> ModelSource:
    return ModelSource(
        redact(lead.uri), entry.path, lead.name, lead.version, lead.immutable, entry.key
    )


def _not_in_run(lead: Lead, context: Context, error: NotAModel) -> NotAModel:
    """Return `error` with the run's models in its hint."""
    assert lead.around is not None
    root, logged = lead.around
    if scheme_of(root) in _LOCAL:
        found = list(local.model_folders(local.path_of(root)))
    else:
        store = _open_store(root, context)
        paths = [file.path for file in store.list_files()]
        store.close()
        found = sorted(path.rpartition("/")[0] for path in paths if path.endswith("/MLmodel"))
        found += ["(the top of its artifacts)"] if "MLmodel" in paths else []
    names = [*logged, *(name for name in found if name not in logged)]
    hint = f"Models of this run: {local.name_some(names)}." if names else "The run has no models."
    return NotAModel(error.message, hint)


def _recall(uri: str, recalled: tuple[str, bool] | None, context: Context) -> ModelSource:
    entry = context.cache.use(recalled[0], context.report) if recalled else None
    if entry is None or recalled is None:
        raise ModelURIError(
            f"{redact(uri)!r} has not been fetched before, and this is to be done offline.",
            "Run it once without --offline.",
        )
    return _recalled_source(uri, entry, immutable=recalled[1])


def _without_answer(
    uri: str, recalled: tuple[str, bool] | None, context: Context, error: Unanswered
) -> ModelSource:
    """Return what cannot have changed from the cache, though nobody could be asked."""
    entry = context.cache.use(recalled[0], context.report) if recalled else None
    if entry is None or recalled is None:
        raise error
    fetched = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
    if not recalled[1]:
        raise Unanswered(
            error.message,
            f"{redact(uri)!r} may have moved since; --offline takes the copy of {fetched}.",
        )
    context.report(f"{error.message} Using the copy that was fetched on {fetched}.")
    return _recalled_source(uri, entry, immutable=True)


def _recalled_source(uri: str, entry: Entry, *, immutable: bool) -> ModelSource:
    return ModelSource(redact(uri), entry.path, entry.name, entry.version, immutable, entry.key)


def _uri_key(uri: str) -> str:
    if scheme_of(uri) not in (*_STORED, "mlflow-artifacts"):
        # With its query, which may choose the file; a hash tells no signature.
        held = scheme_of(uri) in ("http", "https", *HOST_SCHEMES)
        full = without_credentials(uri)[0] if held else uri
        return key_of("uri", full, endpoint())
    asked = [redact(tracking_uri()), redact(registry_uri())]
    folder = str(Path.cwd()) if any(not a.startswith("http") for a in asked) else ""
    return key_of("uri", uri, *asked, folder)


def _require_supported(uri: str) -> None:
    scheme = scheme_of(uri)
    known = (
        *(*_LOCAL, *_STORED, *HOST_SCHEMES, *OBJECT_SCHEMES),
        *("mlflow-artifacts", "http", "https"),
    )
    if scheme not in known:
        raise ModelURIError(
            f"A model URI that starts with {scheme + ':'!r} is not supported.",
            f"Give {SUPPORTED}.",
        )
