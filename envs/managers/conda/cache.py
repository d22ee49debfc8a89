"""The cache of conda packages and channel indexes, ``conda/`` below the launcher's home.

Environments are hard links to the unpacked packages in ``pkgs``, or copies of them: once linked
they need none of them. A package that no environment has only saves the time to fetch it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.disk.files import folder_files, read_json, remove_tree
from envs.disk.locks import shared, try_exclusive

ABANDONED = 86400  # seconds after which nobody is still unpacking a package
_LOCK = "in-use.lock"


def cache_folder(home: Path) -> Path:
    """Return the folder of the cache, there or not."""
    return home / "conda"


@contextmanager
def cache_in_use(home: Path) -> Iterator[Path]:
    """Keep what is in the cache from being removed; yields its folder."""
    folder = cache_folder(home)
    with shared(folder / _LOCK):
        yield folder


def sweep(folder: Path) -> None:
    """Remove what killed builds have left unfinished in the cache."""
    for path in (folder / "pkgs").glob(".*/"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            remove_tree(path)


def prune_cache(
    home: Path, prefixes: Iterable[Path], older_than: float | None, dry_run: bool
) -> Iterator[tuple[str, str, int]]:
    """Remove packages that no environment has, and indexes not written for ``older_than`` seconds.

    ``prefixes`` are those of the environments that stay. Nothing is removed while a build uses
    the cache. Yields what goes, or with ``dry_run`` would go: what, why, its bytes.
    """
    folder = cache_folder(home)
    if not folder.is_dir():
        return
    with try_exclusive(folder / _LOCK) as is_idle:
        if not is_idle:
            return
        for name, reason, paths in _unneeded(folder, prefixes, older_than):
            size = _size(paths)
            if not dry_run:
                for path in paths:
                    remove_tree(path)
            yield name, reason, size


def linked_packages(prefix: Path) -> set[str]:
    """Return the names that the packages of an environment may have in the cache."""
    names = set()
    for record in prefix.glob("conda-meta/*.json"):
        source = read_json(record).get("extracted_package_dir")
        names |= {record.stem, Path(source).name if source else record.stem}
    return names


def _unneeded(
    folder: Path, prefixes: Iterable[Path], older_than: float | None
) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield what of the cache may go: what it is, why, its files and folders."""
    needed = {name for prefix in prefixes for name in linked_packages(prefix)}
    packages = [
        path
        for path in sorted((folder / "pkgs").glob("[!.]*"))
        if path.suffix != ".lock" and path.name not in needed
    ]
    if packages:
        locks = [path.with_name(f"{path.name}.lock") for path in packages]
        noun = "package" if len(packages) == 1 else "packages"
        yield f"{len(packages)} conda {noun}", "in no environment", packages + locks
    if older_than is None:
        return
    indexes: dict[str, list[Path]] = {}
    for path in sorted((folder / "repodata").glob("[!.]*")):
        indexes.setdefault(path.name.partition(".")[0], []).append(path)
    oldest = time.time() - older_than
    old = [paths for paths in indexes.values() if max(map(_written, paths)) < oldest]
    if old:
        noun = "index" if len(old) == 1 else "indexes"
        reason = f"not fetched for {older_than / 86400:.0f} days"
        yield f"{len(old)} conda {noun}", reason, [path for paths in old for path in paths]


def _size(paths: Iterable[Path]) -> int:
    """Return the bytes on disk of files and folders, a file with several names counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        if path.is_dir():
            sizes.update(folder_files(path))
        elif path.exists():
            status = path.stat()
            sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def _written(path: Path) -> float:
    """Return when a file, or the newest in a folder, was written (seconds since the epoch)."""
    return max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
