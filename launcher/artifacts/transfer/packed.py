"""Models in archives: on this machine's disk, or in a store that holds the one file."""

from __future__ import annotations

import uuid
from pathlib import Path

from envs.disk.files import remove_tree
from envs.disk.home import make_private_folder
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.transfer import archives
from launcher.artifacts.transfer.cache import Entry, key_of
from launcher.artifacts.transfer.download import RemoteFile, Store, check_room, download
from launcher.artifacts.transfer.fetching import Context, Lead, entry_of, files_of
from launcher.artifacts.uris import redact, require_storable
from launcher.quantities import format_size


def open_local(path: Path, lead: Lead, context: Context) -> Entry:
    """Return the cached model that the archive `path` holds.

    :raises ModelURIError: it cannot be had, or is refused.
    """
    status = path.stat()
    key = key_of("packed", str(path.resolve()), str(status.st_size), str(status.st_mtime_ns))
    return context.cache.obtain(
        key, context.report, lambda: _unpacked(key, path, str(path), lead, context)
    )


def fetch_packed(lead: Lead, place: str, store: Store, context: Context) -> Entry:
    """Return the cached model in the archive that `store` lists as its only file.

    :param place: as for `fetch`.
    :raises ModelURIError: it cannot be had, or is refused.
    """
    try:
        (file,) = store.list_files()
        require_storable(file.path, store.location)
        # Without a sign of its contents a file may change unseen: then it is fetched each time.
        tag = file.tag or uuid.uuid4().hex
        key = key_of("packed", place, str(file.size), lead.stamp or tag)
        return context.cache.obtain(
            key, context.report, lambda: _fetched(key, store, file, lead, context)
        )
    finally:
        store.close()


def _fetched(key: str, store: Store, file: RemoteFile, lead: Lead, context: Context) -> Entry:
    folder = context.cache.unfinished(key)
    packed = folder / "packed"
    make_private_folder(packed)
    # Unpacked it is larger, with very few exceptions.
    check_room([file], packed, context.max_model_size)
    size = f", {format_size(file.size)}," if file.size is not None else ""
    context.report(f"Fetching the archive {file.path}{size} from {store.location}.")
    download(store, [file], packed, folder / "parts", context.report, context.max_model_size)
    return _unpacked(key, packed / file.path, store.location, lead, context)


def _unpacked(key: str, archive: Path, location: str, lead: Lead, context: Context) -> Entry:
    called = redact(lead.uri)
    model = context.cache.unfinished(key) / "model"
    remove_tree(model)  # What a process that died had unpacked.
    make_private_folder(model)
    try:
        archives.unpack(archive, model, called, context.max_model_size)
        root = archives.model_root(model, called)
    except ModelURIError:
        context.cache.discard(key)
        raise
    return context.cache.complete(entry_of(key, lead, location, files_of(model), root))
