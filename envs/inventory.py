"""What is in the cache, and taking things out of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from envs.disk.files import folder_files, remove_tree
from envs.errors import EnvError
from envs.managers.registry import all_managers
from envs.store.manifest import damage, read_manifest
from envs.store.store import EnvStore


@dataclass(frozen=True)
class Entry:
    """One folder of the cache.

    :param key: the environment's key.
    :param path: its folder.
    :param state: "complete", "building" (a live process does), "unfinished" (what a dead build
        left), or "damaged: ..." with what is gone.
    :param env_manager: None unless it was complete once; ``python_version`` likewise.
    :param packages: number of packages.
    :param size: bytes on disk, a file that several environments share counted in each.
    :param created: seconds since the epoch, None unless it was complete once.
    :param last_used: seconds since the epoch.
    :param users: pids of the processes that use it.
    """

    key: str
    path: Path
    state: str
    env_manager: str | None
    python_version: str | None
    packages: int
    size: int
    created: float | None
    last_used: float
    users: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return {**self.__dict__, "path": str(self.path), "users": list(self.users)}


@dataclass(frozen=True)
class Removal:
    """Something that was, or with a dry run would be, removed: a name, why, and its bytes."""

    name: str
    reason: str
    size: int


def entries(store: EnvStore) -> list[Entry]:
    """Return what is in the cache, last used first."""
    found = [entry for key in store.listed_keys() if (entry := _entry(store, key)) is not None]
    return sorted(found, key=lambda entry: -entry.last_used)


def total_size(listed: list[Entry]) -> int:
    """Return the bytes on disk of all entries, files that they share counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for entry in listed:
        sizes.update(folder_files(entry.path))
    return sum(sizes.values())


def resolve_key(store: EnvStore, text: str) -> str:
    """Return the key that ``text`` is, or is an unambiguous beginning of.

    :raises EnvError: it is none.
    """
    found = [key for key in store.listed_keys() if text and key.startswith(text)]
    if len(found) == 1 or text in found:
        return text if text in found else found[0]
    if found:
        raise EnvError(f"{text} is the beginning of {len(found)} keys.", hint="Write more of it.")
    raise EnvError(f"There is no environment {text}.", hint="`launcher envs list` shows the keys.")


def remove(store: EnvStore, key: str) -> Removal:
    """Remove an environment.

    :raises EnvError: it is being built or used, or not there.
    """
    entry = _entry(store, key)
    if entry is None:
        raise EnvError(
            f"There is no environment {key}.", hint="`launcher envs list` shows the keys."
        )
    if not store.remove(key):
        by = ", ".join(map(str, store.users(key)))
        if not by:
            raise EnvError(f"Environment {key} is being built.", hint="Try again later.")
        raise EnvError(f"Environment {key} is used by process {by}.", hint="Stop it first.")
    return Removal(key, "asked for", entry.size)


def prune(
    store: EnvStore,
    *,
    older_than: float | None = None,
    max_size: int | None = None,
    dry_run: bool = False,
) -> list[Removal]:
    """Remove leftovers, and what the limits say.

    Leftovers are builds that died, damaged environments, marks and locks of the dead. What a
    live process builds or uses stays. Of the conda cache go the packages that no environment has
    then, and indexes that were not fetched for ``older_than``.

    :param older_than: seconds; what was not used for so long goes.
    :param max_size: bytes; the least recently used go until all environments have no more.
    :returns: what went, with ``dry_run`` what would go.
    """
    removed = [*_prune_trash(store, dry_run)]
    listed = entries(store)
    for entry, reason in _doomed(listed, older_than, max_size):
        # It may have been taken into use since it was listed: then it stays.
        if dry_run or store.remove(entry.key):
            removed.append(Removal(entry.key, reason, entry.size))
    gone = {removal.name for removal in removed}
    kept = [store.folder(key) / "env" for key in store.listed_keys() if key not in gone]
    for manager in all_managers():
        rows = manager.prune(store.home, kept, older_than, dry_run)
        removed += [Removal(*row) for row in rows]
    if not dry_run:
        store.sweep()
    return removed


def _doomed(
    listed: list[Entry], older_than: float | None, max_size: int | None
) -> Iterator[tuple[Entry, str]]:
    """Yield what is to be removed, with the reason."""
    now = time.time()
    kept = []
    for entry in listed:
        if entry.users or entry.state == "building":
            kept.append(entry)
        elif entry.state != "complete":
            yield entry, entry.state
        elif older_than is not None and now - entry.last_used > older_than:
            yield entry, f"not used for {(now - entry.last_used) / 86400:.0f} days"
        else:
            kept.append(entry)
    while max_size is not None and total_size(kept) > max_size:
        idle = [entry for entry in kept if not entry.users and entry.state == "complete"]
        if not idle:
            return
        kept.remove(idle[-1])
        yield idle[-1], "the cache is too large"


def _entry(store: EnvStore, key: str) -> Entry | None:
    folder = store.folder(key)
    try:
        last_used = folder.stat().st_mtime
    except FileNotFoundError:
        return None
    manifest = read_manifest(folder) or {}
    created = manifest.get("created")
    return Entry(
        key=key,
        path=folder,
        state=_state(store, key, manifest),
        env_manager=manifest.get("manager"),
        python_version=manifest.get("python_version"),
        packages=len(manifest.get("packages", ())),
        size=sum(folder_files(folder).values()),
        created=datetime.fromisoformat(created).timestamp() if created else None,
        last_used=last_used,
        users=tuple(store.users(key)),
    )


def _state(store: EnvStore, key: str, manifest: dict[str, Any]) -> str:
    if manifest:
        damaged = damage(manifest, store.folder(key))
        return "complete" if damaged is None else f"damaged: {damaged}"
    with store.try_locked(key) as free:
        return "unfinished" if free else "building"


def _prune_trash(store: EnvStore, dry_run: bool) -> Iterator[Removal]:
    for path in store.trash():
        yield Removal(path.name, "removal was interrupted", sum(folder_files(path).values()))
        if not dry_run:
            remove_tree(path)
