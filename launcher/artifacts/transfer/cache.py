"""The models that were fetched: `models/` below the launcher's home.

    models/KEY/manifest.json    what it is and where it came from; its time is the last use
    models/KEY/model/           the files
    models/KEY/users/           a mark of each process that uses it (see envs.locks)
    models/KEY.partial/         one that is being fetched, or was when its process died
    models/locks/KEY            held by who fetches or removes it
    models/uris/HASH.json       which key a URI led to the last time

An entry appears by the renaming of its folder, so it is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envs.disk.home import launcher_home
from envs.disk.locks import Mark, exclusive, remove_lock_file, try_exclusive, users
from launcher.artifacts.source import Report

MANIFEST_VERSION = 1


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


class Cache:
    """The folder of fetched models."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or launcher_home() / "models"
        self._marks: dict[str, list[Mark]] = {}

    def find(self, key: str) -> Entry | None:
        """Return the entry of `key` if it is there and whole. It may be pruned any moment."""
        entry = self._read(self.root / key)
        return entry if entry is not None and entry.is_whole() else None

    def use(self, key: str, report: Report) -> Entry | None:
        """Like `find`, and keep the entry from being pruned while this process lives."""
        if self.find(key) is None:
            return None
        with self.locked(key, report):
            entry = self.find(key)
            return self.mark(entry) if entry is not None else None

    def mark(self, entry: Entry) -> Entry:
        """Note that this process uses `entry`; only while holding its lock."""
        os.utime(entry.folder / "manifest.json")
        self._marks.setdefault(entry.key, []).append(Mark(entry.folder / "users"))
        return entry

    def release(self, path: Path) -> None:
        """Take back one use of the entry that `path` is in; after the last it may be pruned."""
        for key, marks in list(self._marks.items()):
            if (self.root / key) in path.parents and marks:
                marks.pop().release()

    @contextmanager
    def locked(self, key: str, report: Report) -> Iterator[None]:
        """Hold the lock of `key`, after whoever has it."""

        def waiting(pid: str) -> None:
            by = f" (process {pid})" if pid else ""
            report(f"Another launcher{by} is fetching this model; waiting for it.")

        with exclusive(self._lock(key), waiting):
            yield

    def partial(self, key: str) -> Path:
        """Return the folder that `key` is fetched into; only while holding its lock."""
        folder = self.root / f"{key}.partial"
        (folder / "model").mkdir(parents=True, exist_ok=True)
        return folder

    def complete(self, entry: Entry) -> Entry:
        """Make the entry's partial folder the entry; only while holding its lock."""
        partial, folder = self.root / f"{entry.key}.partial", self.root / entry.key
        for left in ("parts", "users"):
            shutil.rmtree(partial / left, ignore_errors=True)
        manifest = {
            "manifest_version": MANIFEST_VERSION,
            **{k: v for k, v in asdict(entry).items() if k not in ("folder", "used", "key")},
        }
        _write_json(partial / "manifest.json", manifest)
        if folder.exists():  # Damaged: `find` said no.
            self._remove(folder)
        partial.rename(folder)
        found = self._read(folder)
        assert found is not None
        return found

    def remember(self, uri_key: str, key: str, *, immutable: bool) -> None:
        """Note that the URI with `uri_key` leads to the entry `key` now (or for ever)."""
        noted = {"key": key, "immutable": immutable}
        path = self.root / "uris" / f"{uri_key}.json"
        if _read_json(path) != noted:
            _write_json(path, noted)

    def recall(self, uri_key: str) -> tuple[str, bool] | None:
        """Return the key that the URI with `uri_key` led to last, and whether that is for ever."""
        found = _read_json(self.root / "uris" / f"{uri_key}.json")
        return (str(found["key"]), bool(found["immutable"])) if found else None

    def entries(self) -> list[Entry]:
        """Return all entries, the one that was used last first."""
        folders = self.root.iterdir() if self.root.is_dir() else iter(())
        found = [self._read(path) for path in folders if not path.suffix and path.is_dir()]
        return sorted((e for e in found if e is not None), key=lambda e: -e.used)

    def users(self, entry: Entry) -> list[int]:
        """Return the pids of the processes that use `entry`."""
        return sorted(set(users(entry.folder / "users")))

    def remove(self, entry: Entry, *, dry_run: bool = False) -> bool:
        """Remove `entry` unless a process uses or fetches it; return whether it is (to be) gone."""
        with try_exclusive(self._lock(entry.key)) as mine:
            if not mine or users(entry.folder / "users", remove_dead=not dry_run):
                return False
            if not dry_run:
                self._remove(entry.folder)
                remove_lock_file(self._lock(entry.key))
        return True

    def remove_partials(self, older_than: float, *, dry_run: bool = False) -> list[Path]:
        """Remove what dead transfers left `older_than` seconds ago or earlier; return it."""
        removed = []
        for folder in self.root.glob("*.partial") if self.root.is_dir() else ():
            with try_exclusive(self._lock(folder.stem)) as mine:
                if mine and time.time() - _newest(folder) >= older_than:
                    removed.append(folder)
                    if not dry_run:
                        self._remove(folder)
        for folder in self.root.glob("*.removed-*") if not dry_run else ():
            shutil.rmtree(folder, ignore_errors=True)  # Maybe still under way elsewhere.
        return removed

    def _lock(self, key: str) -> Path:
        return self.root / "locks" / key

    def _read(self, folder: Path) -> Entry | None:
        manifest = _read_json(folder / "manifest.json")
        if not manifest or manifest.pop("manifest_version", None) != MANIFEST_VERSION:
            return None
        used = (folder / "manifest.json").stat().st_mtime
        return Entry(key=folder.name, folder=folder, used=used, **manifest)

    def _remove(self, folder: Path) -> None:
        # Out of the way first: a removal that is cut short must not leave half an entry.
        gone = folder.with_name(f"{folder.name}.removed-{os.getpid()}")
        folder.rename(gone)
        shutil.rmtree(gone)


def prune(
    cache: Cache,
    *,
    older_than: float | None,
    max_size: int | None,
    dry_run: bool,
    now: Callable[[], float] = time.time,
) -> tuple[list[Entry], list[Entry]]:
    """Remove entries that nobody uses; return those that went and those that stayed.

    `older_than`: only what was last used that many seconds ago or earlier. `max_size`: the least
    recently used go until the rest has no more bytes than this. With neither all go.
    """
    entries = cache.entries()
    chosen = []
    left = sum(entry.size for entry in entries)
    for entry in reversed(entries):
        old = older_than is not None and now() - entry.used >= older_than
        too_much = max_size is not None and left > max_size
        if (old or too_much or (older_than is None and max_size is None)) and cache.remove(
            entry, dry_run=dry_run
        ):
            chosen.append(entry)
            left -= entry.size
    gone = {entry.key for entry in chosen}
    return chosen, [entry for entry in entries if entry.key not in gone]


def _newest(folder: Path) -> float:
    times = [path.stat().st_mtime for path in folder.rglob("*")]
    return max([*times, folder.stat().st_mtime])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=1, sort_keys=True))
    draft.replace(path)
