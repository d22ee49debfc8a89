"""Folders that are found by key, made once, and kept while a process uses them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envs.disk.files import read_json, remove_tree, write_json
from envs.disk.home import make_private_folder
from envs.disk.locks import Mark, exclusive, remove_lock_file, try_exclusive, users

MANIFEST = "manifest.json"


class KeyedCache:
    """The folders below ``root``, one a key; a key's folder counts once it has a manifest.

    Layout: ``KEY/manifest.json`` (written last; the folder's time is the last use),
    ``.locks/KEY`` (held by who makes, marks or removes it), ``.users/KEY/PID-...`` (locked while
    that process uses it), ``.trash`` (what is about to be removed).
    """

    def __init__(self, root: Path):
        self.root = root

    def folder(self, key: str) -> Path:
        """Return the folder of a key, there or not."""
        return self.root / key

    def lock_path(self, key: str) -> Path:
        """Return the file that is locked for a key."""
        return self.root / ".locks" / key

    def users_folder(self, key: str) -> Path:
        """Return the folder with the marks of the users of a key."""
        return self.root / ".users" / key

    def listed_keys(self) -> list[str]:
        """Return the keys that have a folder, complete or not."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if p.name[0] != "." and p.is_dir())

    def users(self, key: str) -> list[int]:
        """Return the pids of the processes that use what is at a key."""
        return users(self.users_folder(key))

    @contextmanager
    def locked(self, key: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the lock of a key.

        :param waiting: called once, with " (process 12)" or "", where another process has it.
        :raises OSError: the lock cannot be made.
        """

        def tell(pid: str) -> None:
            if waiting is not None:
                waiting(f" (process {pid})" if pid else "")

        with exclusive(self.lock_path(key), tell):
            yield

    @contextmanager
    def try_locked(self, key: str) -> Iterator[bool]:
        """Like `locked`, but yield False at once where another process has the lock."""
        with try_exclusive(self.lock_path(key)) as mine:
            yield mine

    def mark(self, key: str) -> Mark:
        """Return a new mark of use of a key, and note the time. Needs the key's lock."""
        held = Mark(self.users_folder(key))
        os.utime(self.folder(key))
        return held

    def discard(self, key: str) -> None:
        """Remove the folder of a key: first out of the way, in one step. Needs the key's lock."""
        if not self.folder(key).exists():
            return
        make_private_folder(self.root / ".trash")
        doomed = self.root / ".trash" / f"{key}-{os.urandom(4).hex()}"
        self.folder(key).rename(doomed)
        remove_tree(doomed)

    def forget(self, key: str) -> None:
        """Remove what is kept beside the folder of a key. Needs the key's lock."""
        remove_tree(self.users_folder(key))
        remove_lock_file(self.lock_path(key))

    def remove(self, key: str, *, dry_run: bool = False) -> bool:
        """Remove what is at a key unless a process uses or makes it.

        :returns: whether it is gone, with ``dry_run`` whether it would be.
        """
        with self.try_locked(key) as mine:
            if not mine or users(self.users_folder(key), remove_dead=not dry_run):
                return False
            if not dry_run:
                self.discard(key)
                self.forget(key)
        return True

    def trash(self) -> list[Path]:
        """Return the folders whose removal was interrupted, or is under way."""
        trash = self.root / ".trash"
        return sorted(trash.iterdir()) if trash.is_dir() else []

    def sweep(self) -> None:
        """Remove marks of the dead, and what is kept beside folders that are gone."""
        for key in sorted(self._known()):
            with self.try_locked(key) as mine:
                if mine:
                    alive = users(self.users_folder(key), remove_dead=True)
                    if not alive and not self.folder(key).exists():
                        self.forget(key)

    def _known(self) -> set[str]:
        folders = (self.lock_path(""), self.users_folder(""))
        return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}


def read_manifest(folder: Path, version: int) -> dict[str, Any] | None:
    """Return the manifest of a key's folder, None where it does not count."""
    document = read_json(folder / MANIFEST)
    return document if document.get("manifest_version") == version else None


def write_manifest(folder: Path, version: int, document: Mapping[str, Any]) -> None:
    """Write the manifest, the last step of making a key's folder: from then on it counts."""
    write_json(folder / MANIFEST, {"manifest_version": version, **document}, mode=0o600)
