"""Unpacks zip and tar archives that nobody vouches for."""

from __future__ import annotations

import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from launcher.artifacts.source import ModelURIError
from launcher.artifacts.transfer.download import refuse_size

if TYPE_CHECKING:
    import tarfile
    import zipfile

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BLOCK = 1024 * 1024
MOST_MEMBERS = 100_000


@dataclass(frozen=True)
class _Member:
    name: str
    open: Callable[[], IO[bytes]] | None = None
    """For a file: gives its contents."""
    target: str | None = None
    """For a symbolic link: where it leads, relative to its own folder."""


def is_archive_name(path: str) -> bool:
    """Whether a path or URL path is named as an archive."""
    return path.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, called: str, max_size: int | None) -> None:
    """Unpack `archive` into the empty `folder`; `called` is its name for messages.

    Raises ModelURIError for what is no archive or damaged, what would be written outside of
    `folder`, and what is larger than `max_size` bytes or the free space of the disk. What was
    written by then stays.
    """
    import lzma
    import tarfile
    import zipfile
    import zlib

    free = shutil.disk_usage(folder).free
    written = 0
    links: list[tuple[Path, str]] = []
    try:
        for count, member in enumerate(_members(archive, called)):
            path = folder / _inside(member.name, called)
            if count > MOST_MEMBERS:
                raise _refused(called, f"it has more than {MOST_MEMBERS} files")
            if member.target is not None:
                links.append((path, _link(member, called)))
            elif member.open is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, path.open("xb") as target:
                    while block := source.read(BLOCK):
                        written += len(block)
                        refuse_size(written, max_size)
                        if written > free:
                            raise _refused(called, "unpacked it is larger than the disk's room")
                        target.write(block)
            else:
                path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _refused(called, f"it has {Path(error.filename).name!r} twice") from None
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
        NotImplementedError, NotADirectoryError, IsADirectoryError,
    ) as error:  # fmt: skip
        raise ModelURIError(
            f"{called!r} cannot be unpacked: {error or type(error).__name__}.",
            "It is damaged or encrypted; make it anew.",
        ) from None
    _make_links(folder, links, called)


def model_root(folder: Path, called: str) -> str:
    """Return the one folder in `folder` (relative, "" for itself) that has a file MLmodel.

    Raises ModelURIError when there is none, or when there are several and none at the top.
    """
    if (folder / "MLmodel").is_file():
        return ""
    found = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("MLmodel"))
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelURIError(
            f"{called!r} has more than one model: {', '.join(found[:8])}.",
            "Unpack it, and give the folder of one of them.",
        )
    raise ModelURIError(
        f"{called!r} has no MLflow Model in it: there is no file MLmodel.",
        "Pack the folder that MLflow's save_model wrote.",
    )


def _members(archive: Path, called: str) -> Iterator[_Member]:
    import tarfile
    import zipfile

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                yield _zip_member(file, info, called)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as packed:
            for item in packed:
                yield _tar_member(packed, item, called)
    else:
        raise ModelURIError(
            f"{called!r} is neither a zip nor a tar archive.",
            f"Supported are {', '.join(SUFFIXES)}.",
        )


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, called: str) -> _Member:
    # The upper half is the Unix mode where a Unix program packed it, else 0.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return _Member(info.filename, target=file.read(info)[:4096].decode("utf-8", "replace"))
    if info.is_dir():
        return _Member(info.filename)
    if kind not in (0, stat.S_IFREG):
        raise _refused(called, f"{info.filename!r} is not an ordinary file")
    return _Member(info.filename, open=lambda: file.open(info))


def _tar_member(packed: tarfile.TarFile, item: tarfile.TarInfo, called: str) -> _Member:
    if item.isdir():
        return _Member(item.name)
    if item.issym():
        return _Member(item.name, target=item.linkname)
    if item.islnk():
        # A hard link names another member by its path from the top.
        start = posixpath.dirname(posixpath.normpath(item.name))
        return _Member(item.name, target=posixpath.relpath(item.linkname, start or "."))
    if not item.isfile():
        raise _refused(called, f"{item.name!r} is not an ordinary file")

    def contents() -> IO[bytes]:
        opened = packed.extractfile(item)
        assert opened is not None
        return opened

    return _Member(item.name, open=contents)


def _inside(name: str, called: str) -> str:
    """Return the normal form of a member's path. Raises ModelURIError when it leads outside."""
    path = posixpath.normpath(name)
    drive = len(path) > 1 and path[1] == ":"
    if posixpath.isabs(path) or ".." in path.split("/") or "\\" in path or "\0" in path or drive:
        raise _refused(called, f"{name!r} is outside of it")
    return path


def _link(member: _Member, called: str) -> str:
    """Return a link's target. Raises ModelURIError when it leads outside."""
    assert member.target is not None
    start = posixpath.dirname(_inside(member.name, called))
    if posixpath.isabs(member.target) or posixpath.normpath(
        posixpath.join(start, member.target)
    ).startswith(".."):
        raise _refused(called, f"the link {member.name!r} leads outside of it")
    return member.target


def _make_links(folder: Path, links: list[tuple[Path, str]], called: str) -> None:
    """Make the links last, so that nothing is ever written through one.

    Where each really leads is looked up once all are there: links may lead through links.
    """
    for path, target in links:
        if path.exists() or path.is_symlink():
            raise _refused(called, f"it has {path.name!r} twice")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    top = folder.resolve()
    for path, _ in links:
        try:
            inside = path.resolve(strict=True).is_relative_to(top)
        except (OSError, RuntimeError):  # It leads nowhere, or in a circle.
            inside = False
        if not inside:
            raise _refused(called, f"the link {path.name!r} leads outside of it, or nowhere")


def _refused(called: str, why: str) -> ModelURIError:
    return ModelURIError(
        f"Refused to unpack {called!r}: {why}.", "Nothing of it is used; check where it is from."
    )
