"""From a store to a cached model: what is there is used, what is not is fetched once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.artifacts import local
from launcher.artifacts.source import NotAModel, Report, refuse_size
from launcher.artifacts.transfer.cache import Cache, Entry, key_of
from launcher.artifacts.transfer.download import (
    RemoteFile,
    Store,
    check_room,
    download,
    refuse_count,
)
from launcher.artifacts.uris import redact, require_storable
from launcher.quantities import format_size

MLMODEL = "MLmodel"


@dataclass(frozen=True)
class Lead:
    """What a URI was found to mean: the place of the files, and how long that holds."""

    uri: str
    location: str
    """URI of the folder (or archive) with the files; may contain a password."""
    stamp: str = ""
    """With `location`, identifies the contents for ever; "" where nothing does."""
    name: str | None = None
    version: str | None = None
    immutable: bool = False
    """Whether the URI, asked again, leads to the same contents."""
    around: tuple[str, tuple[str, ...]] | None = None
    """For a run: the URI of all its artifacts, and the names of its logged models."""


@dataclass(frozen=True)
class Context:
    """How to go about it."""

    cache: Cache
    report: Report
    offline: bool = False
    max_model_size: int | None = None


def fetch(lead: Lead, place: str, open_store: Callable[[], Store], context: Context) -> Entry:
    """Return the cached model that `lead` means, transferred if it is not there.

    :param place: its location together with the server that answers for it, without passwords.
    :raises ModelURIError: it cannot be fetched, or is refused.
    """
    if lead.stamp:
        key = key_of("stamped", place, lead.stamp)
        entry = context.cache.use(key, context.report)
        if entry is not None:
            return entry
    store = open_store()
    try:
        files = _listed(store, lead)
        if not lead.stamp:
            key = key_of("listed", store.location, _digest(store, files))
        return context.cache.obtain(
            key, context.report, lambda: _transfer(key, store, files, lead, context)
        )
    finally:
        store.close()


def _listed(store: Store, lead: Lead) -> list[RemoteFile]:
    files = store.list_files()
    refuse_count(len(files), store.location)
    for file in files:
        require_storable(file.path, store.location)
    if not any(file.path == MLMODEL for file in files):
        raise not_a_model(redact(lead.uri), [file.path for file in files])
    return files


def not_a_model(called: str, paths: list[str]) -> NotAModel:
    """Return the error for a folder without MLmodel, naming the models below it."""
    models = [path.rpartition("/")[0] for path in sorted(paths) if path.endswith(f"/{MLMODEL}")]
    if models:
        hint = f"These folders in it are models: {local.name_some(models)}. Add one to the URI."
    elif paths:
        some = local.name_some(sorted({path.partition("/")[0] for path in paths}))
        hint = f"Give the folder that a model was logged to. In this one there are: {some}."
    else:
        hint = "There is nothing at that place: check the path."
    return NotAModel(f"{called!r} is not an MLflow Model: it has no file {MLMODEL}.", hint)


def _digest(store: Store, files: list[RemoteFile]) -> str:
    """Identify the contents of a folder that may change.

    MLmodel has the model's UUID and the time it was logged, so it differs even where the store
    tells only names and sizes.
    """
    listing = [f"{file.path}\0{file.size}\0{file.tag}" for file in files]
    return key_of(*sorted(listing), key_of(store.read_head(MLMODEL).decode("utf-8", "replace")))


def _transfer(
    key: str, store: Store, files: list[RemoteFile], lead: Lead, context: Context
) -> Entry:
    folder = context.cache.unfinished(key)
    model = folder / "model"
    check_room(files, model, context.max_model_size)
    total = sum(file.size or 0 for file in files)
    context.report(f"Fetching {len(files)} files, {format_size(total)}, from {store.location}.")
    began = time.monotonic()
    download(store, files, model, folder / "parts", context.report, context.max_model_size)
    _remove_unlisted(model, {file.path for file in files})
    found = files_of(model)
    refuse_size(sum(found.values()), context.max_model_size)
    context.report(f"Fetched {format_size(sum(found.values()))} in {_seconds(began)}.")
    return context.cache.complete(entry_of(key, lead, store.location, found))


def entry_of(key: str, lead: Lead, location: str, files: dict[str, int], root: str = "") -> Entry:
    """Return the entry that describes what was fetched just now."""
    return Entry(key, redact(lead.uri), location, lead.name, lead.version, root, files, time.time())


def _remove_unlisted(model: Path, listed: set[str]) -> None:
    """Remove what an earlier attempt brought that has gone from the store since."""
    for path in files_of(model):
        if path not in listed:
            (model / path).unlink()


def files_of(model: Path) -> dict[str, int]:
    """Return the files below `model` as relative paths with slashes, and their sizes."""
    return {
        path.relative_to(model).as_posix(): path.stat().st_size
        for path in sorted(model.rglob("*"))
        if path.is_file()
    }


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
