"""From a model URI to a folder on this machine's disk that holds the model."""

from __future__ import annotations

from pathlib import Path

from envs.disk.home import launcher_home
from launcher.artifacts import local
from launcher.artifacts.source import ModelSource, ModelURIError, Report, silent
from launcher.artifacts.uris import scheme_of

__all__ = [
    "ModelSource",
    "ModelURIError",
    "Report",
    "folder_in_place",
    "release_model",
    "resolve_model",
]


def resolve_model(
    uri: str,
    *,
    report: Report = silent,
    offline: bool = False,
    max_model_size: int | None = None,
) -> ModelSource:
    """Return the model that `uri` leads to, fetched if it is not on this machine's disk.

    Called again it tells, by another `revision`, that what is behind a moving URI has changed.
    A fetched model stays in the cache while this process lives, or until `release_model`.

    :param report: is given lines for a person.
    :param offline: ask nothing over the network: only what was fetched before is found.
    :param max_model_size: in bytes, after unpacking.
    :raises ModelURIError: the URI leads to no model, or to one that is refused.
    """
    try:
        path = _path_of(uri)
        if path is not None and not _is_archive(path):
            return local.open_folder(uri, path, max_model_size)
    except OSError as error:  # a name that is too long, links in a circle, no permission
        raise ModelURIError(
            f"{uri[:100]!r} cannot be looked at: {error.strerror}.",
            "Give the folder that holds the file MLmodel.",
        ) from error
    # Only what needs a network, a cache or an archive pays for importing all that.
    from launcher.artifacts import resolving
    from launcher.artifacts.transfer.fetching import Context

    context = Context(resolving.this_cache(), report, offline, max_model_size)
    return resolving.resolve(uri, context)


def folder_in_place(uri: str, *, report: Report = silent) -> Path:
    """Return the model's own folder, the one that `uri` leads to, in order to change it.

    Nothing is fetched; a tracking server or registry may be asked.

    :param report: is given lines for a person.
    :raises ModelURIError: the model is elsewhere, packed, or a version of a registered one.
    """
    from launcher.artifacts.leads import Stores, follow
    from launcher.artifacts.uris import parse_models_uri, redact

    if scheme_of(uri) == "models" and parse_models_uri(uri).model_id is None:
        raise ModelURIError(
            f"{uri!r} is a version of a registered model, which stays as it was registered.",
            "Change the model that it was registered from (models:/m-ID, runs:/RUN_ID/path), or "
            "log another, and register that as the next version.",
        )
    path = _path_of(uri) or _path_of(follow(uri, Stores(report)).location)
    if path is None or _is_archive(path) or launcher_home() / "models" in path.parents:
        raise ModelURIError(
            f"The files of {redact(uri)!r} are not in a folder of this machine that could be "
            "changed.",
            "Change a copy of that folder (`mlflow artifacts download -u URI -d FOLDER`), and log "
            "it in its place; or have MLflow upload both files: "
            "`mlflow models update-pip-requirements`.",
        )
    return local.open_folder(uri, path).path


def release_model(source: ModelSource) -> None:
    """Take back one `resolve_model` that gave `source`; after the last it may be pruned."""
    if launcher_home() / "models" not in source.path.parents:
        return  # it was not fetched, and what fetches need not be imported
    from launcher.artifacts import resolving

    resolving.this_cache().release(source.path)


def _path_of(uri: str) -> Path | None:
    """Return the path that `uri` is or means, None for a URI of another kind."""
    scheme = scheme_of(uri)
    if scheme in ("", "file"):
        return local.path_of(uri)
    # A colon is an ordinary character in the name of a file that is there.
    return local.expand(uri) if "//" not in uri and Path(uri).exists() else None


def _is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    from launcher.artifacts.transfer.archives import is_archive_name

    return is_archive_name(path.name)
