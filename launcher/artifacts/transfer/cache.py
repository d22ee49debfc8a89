"""The models that were fetched: `models/` below the launcher's home.

    models/KEY/manifest.json    what it is and where it came from, written last
    models/KEY/model/           the files
    models/KEY/parts/, packed/  what is being fetched, or was when its process died
    models/uris/HASH.json       which key a URI led to the last time

Locks, marks of use and trash are where `KeyedCache` has them.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from envs.disk.files import read_json, remove_tree, write_json
from envs.disk.home import launcher_home, make_private_folder
from envs.disk.keyed_cache import KeyedCache, read_manifest, write_manifest
from envs.disk.locks import Mark
from launcher.artifacts.source import Report

MANIFEST_VERSION = 1
# "locks": where versions before 0.2 had them.
_NO_KEYS = ("uris", "locks")


@dataclass(frozen=True)
class Entry:
    """A model in the cache."""

    key: str
    uri: str
    """The URI that it was fetched by, without passwords."""
    location: str
    """Where its files came from, without passwords."""
    name: str | None
    version: str | None
    root: str
    """The model's folder below `model/`, "" for that one itself."""
    files: dict[str, int]
    """Path below `model/` -> size in bytes."""
    created: float
    """Seconds since the epoch."""
    folder: Path = field(default=Path(), compare=False)
    used: float = 0.0
    """When a process last asked for it, in seconds since the epoch."""

    @property
    def path(self) -> Path:
        """The folder with the file `MLmodel`."""
        return self.folder / "model" / self.root

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def is_whole(self) -> bool:
        """Whether every file is still there with its size."""
        for path, size in self.files.items():
            try:
                if (self.folder / "model" / path).stat().st_size != size:
                    return False
            except FileNotFoundError:
                return False
        return True


def key_of(*parts: str) -> str:
    """Return the key for what `parts` identify; put no secret in them."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class Cache(KeyedCache):
    """The folder of fetched models, and the marks of those that this process uses."""

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root or launcher_home() / "models")
        self._guard = threading.Lock()
        self._uses: dict[str, tuple[Mark, int]] = {}

    def find(self, key: str) -> Entry | None:
        """Return the entry of `key` if it is there and whole. It may be pruned any moment."""
        entry = self._read(key)
        return entry if entry is not None and entry.is_whole() else None

    def use(self, key: str, report: Report) -> Entry | None:
        """Like `find`, and keep the entry from being pruned until `release`."""
        if self.find(key) is None:
            return None
        with self._fetching(key, report):
            entry = self.find(key)
            return self._hold(entry) if entry is not None else None

    def obtain(self, key: str, report: Report, fetch: Callable[[], Entry]) -> Entry:
        """Return the entry of `key` as `use` does, made by `fetch` if it is not there."""
        entry = self.use(key, report)
        if entry is not None:
            return entry
        with self._fetching(key, report):
            # Another process may have fetched it while this one waited.
            return self._hold(self.find(key) or fetch())

    def _hold(self, entry: Entry) -> Entry:
        """Count one more use of `entry` by this process; only while holding its lock."""
        with self._guard:
            mark, count = self._uses.get(entry.key) or (self.mark(entry.key), 0)
            self._uses[entry.key] = mark, count + 1
        return entry

    def release(self, path: Path) -> None:
        """Take back one use of the entry that `path` is in; after the last it may be pruned."""
        with self._guard:
            for key in [key for key in self._uses if self.folder(key) in path.parents]:
                mark, count = self._uses.pop(key)
                if count > 1:
                    self._uses[key] = mark, count - 1
                else:
                    mark.release()

    def _fetching(self, key: str, report: Report) -> AbstractContextManager[None]:
        """Hold the lock of `key`, after whoever has it."""
        return self.locked(
            key, lambda by: report(f"Another launcher{by} is fetching this model; waiting for it.")
        )

    def unfinished(self, key: str) -> Path:
        """Return the folder that `key` is fetched into; only while holding its lock."""
        folder = self.folder(key)
        if self._read(key) is not None:  # Damaged: `find` said no.
            self.discard(key)
        make_private_folder(folder / "model")
        return folder

    def complete(self, entry: Entry) -> Entry:
        """Make what was fetched count; only while holding its lock."""
        folder = self.folder(entry.key)
        for left in ("parts", "packed"):
            remove_tree(folder / left)
        document = {k: v for k, v in asdict(entry).items() if k not in ("folder", "used", "key")}
        write_manifest(folder, MANIFEST_VERSION, document)
        found = self._read(entry.key)
        assert found is not None
        return found

    def remember(self, uri_key: str, key: str, *, immutable: bool) -> None:
        """Note that the URI with `uri_key` leads to the entry `key` now (or for ever)."""
        noted = {"key": key, "immutable": immutable}
        path = self.root / "uris" / f"{uri_key}.json"
        if read_json(path) != noted:
            make_private_folder(path.parent)
            write_json(path, noted, mode=0o600)

    def recall(self, uri_key: str) -> tuple[str, bool] | None:
        """Return the key that the URI with `uri_key` led to last, and whether that is for ever."""
        found = read_json(self.root / "uris" / f"{uri_key}.json")
        return (str(found["key"]), bool(found["immutable"])) if found else None

    def listed_keys(self) -> list[str]:
        """Return the keys that have a folder, complete or not."""
        return [key for key in super().listed_keys() if key not in _NO_KEYS]

    def entries(self) -> list[Entry]:
        """Return all entries, the one that was used last first."""
        found = [self._read(key) for key in self.listed_keys()]
        return sorted((e for e in found if e is not None), key=lambda e: -e.used)

    def remove_partials(self, older_than: float, *, dry_run: bool = False) -> list[Path]:
        """Remove what dead transfers left `older_than` seconds ago or earlier; return it."""
        removed = []
        for key in self.listed_keys():
            folder = self.folder(key)
            with self.try_locked(key) as mine:
                if not mine or self._read(key) or time.time() - _newest(folder) < older_than:
                    continue
                removed.append(folder)
                if not dry_run:
                    self.discard(key)
        if not dry_run:
            for folder in self.trash():
                remove_tree(folder)
            self.sweep()
        return removed

    def _read(self, key: str) -> Entry | None:
        folder = self.folder(key)
        manifest = read_manifest(folder, MANIFEST_VERSION)
        if manifest is None:
            return None
        del manifest["manifest_version"]
        return Entry(key=key, folder=folder, used=folder.stat().st_mtime, **manifest)


def prune(
    cache: Cache,
    *,
    older_than: float | None,
    max_size: int | None,
    dry_run: bool,
    now: Callable[[], float] = time.time,
) -> tuple[list[Entry], list[Entry]]:
    """Remove entries that nobody uses: damaged ones, and those that a limit says.

    :param older_than: what was last used that many seconds ago or earlier goes.
    :param max_size: the least recently used go until the rest has no more bytes than this.
    :returns: those that went and those that stayed.
    """
    entries = cache.entries()
    chosen = []
    left = sum(entry.size for entry in entries)
    for entry in reversed(entries):
        old = older_than is not None and now() - entry.used >= older_than
        too_much = max_size is not None and left > max_size
        if (old or too_much or not entry.is_whole()) and cache.remove(entry.key, dry_run=dry_run):
            chosen.append(entry)
            left -= entry.size
    gone = {entry.key for entry in chosen}
    return chosen, [entry for entry in entries if entry.key not in gone]


def _newest(folder: Path) -> float:
    times = [path.stat().st_mtime for path in folder.rglob("*")]
    return max([*times, folder.stat().st_mtime])
