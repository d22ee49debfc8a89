"""Unpacks zip and tar archives that nobody vouches for."""

from __future__ import annotations

import posixpath
import shutil
from pathlib import Path

from envs.disk.home import make_private_folder, open_private
from launcher.artifacts.source import ModelURIError, refuse_size
from launcher.artifacts.transfer.members import BLOCK, Member, TooMuch, members_of
from launcher.artifacts.uris import DEEPEST, LONGEST_NAME

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_MEMBERS = 100_000
"""Files, links and folders, those included that an archive has only in the paths of others."""
LONGEST_TARGET = 4095
"""Bytes of a symbolic link's target: Linux' PATH_MAX."""


def is_archive_name(path: str) -> bool:
    """Whether a path or URL path is named as an archive."""
    return path.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, called: str, max_size: int | None) -> None:
    """Unpack `archive` into the empty `folder`; what was written before it is refused stays.

    :param called: its name for messages.
    :raises ModelURIError: it is no archive or damaged, would write outside of `folder`, or is
        larger than `max_size` bytes or the free space of the disk.
    """
    import lzma
    import tarfile
    import zipfile
    import zlib

    try:
        _Unpacking(folder, called, max_size).run(archive)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(called, f"it has {Path(error.filename).name!r} twice") from None
    except TooMuch as error:
        raise _refused(called, str(error)) from None
    except OSError as error:
        # What gzip and bz2 raise for damage is one too, without a number.
        if error.errno is not None:
            raise
        raise _damaged(called, error) from None
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
        NotImplementedError, ValueError, OverflowError,
    ) as error:  # fmt: skip
        raise _damaged(called, error) from None


class _Unpacking:
    def __init__(self, folder: Path, called: str, max_size: int | None) -> None:
        self._folder, self._called, self._max_size = folder, called, max_size
        self._free = shutil.disk_usage(folder).free
        self._written = 0
        self._members = 0
        self._folders = {folder}
        self._links: list[tuple[Path, str]] = []

    def run(self, archive: Path) -> None:
        for member in members_of(archive, self._called):
            self._count()
            path = self._folder / _inside(member.name, self._called)
            if not member.is_usual:
                raise _refused(self._called, f"{member.name!r} is not an ordinary file")
            if member.target is not None:
                self._links.append((path, _link(member, self._called)))
            elif member.open is None:
                self._make_folder(path)
            else:
                self._make_folder(path.parent)
                self._write(member, path)
        _make_links(self._folder, self._links, self._called)

    def _write(self, member: Member, path: Path) -> None:
        assert member.open is not None
        self._require_room(member.size)  # As it says itself: no disk is filled to find out.
        with (
            member.open() as source,
            open(path, "xb", opener=open_private) as target,
        ):
            while block := source.read(BLOCK):
                self._require_room(len(block))
                self._written += len(block)
                target.write(block)

    def _require_room(self, size: int) -> None:
        refuse_size(self._written + size, self._max_size)
        if self._written + size > self._free:
            raise _refused(self._called, "unpacked it is larger than the disk's room")

    def _make_folder(self, path: Path) -> None:
        if path in self._folders:
            return
        self._make_folder(path.parent)
        self._count()
        make_private_folder(path)
        self._folders.add(path)

    def _count(self) -> None:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise _refused(self._called, f"it has more than {MOST_MEMBERS} files and folders")


def model_root(folder: Path, called: str) -> str:
    """Return the one folder in `folder` (relative, "" for itself) that has a file MLmodel.

    :raises ModelURIError: there is none, or there are several and none at the top.
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


def _inside(name: str, called: str) -> str:
    """Return the normal form of a member's path.

    :raises ModelURIError: it leads outside.
    """
    path = posixpath.normpath(name)
    drive = len(path) > 1 and path[1] == ":"
    parts = path.split("/")
    if posixpath.isabs(path) or ".." in parts or "\\" in path or "\0" in path or drive:
        raise _refused(called, f"{name[:100]!r} is outside of it")
    if len(parts) > DEEPEST or max(len(_encoded(part, called)) for part in parts) > LONGEST_NAME:
        raise _refused(called, f"{name[:100]!r}… is too long, or in too many folders")
    return path


def _encoded(name: str, called: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _refused(called, f"{name[:100]!r} is no name") from None


def _link(member: Member, called: str) -> str:
    """Return a link's target.

    :raises ModelURIError: it leads outside.
    """
    target = member.target or ""
    start = posixpath.dirname(_inside(member.name, called))
    outside = posixpath.isabs(target) or posixpath.normpath(
        posixpath.join(start, target)
    ).startswith("..")
    if outside or not target or "\0" in target or len(_encoded(target, called)) > LONGEST_TARGET:
        raise _refused(called, f"the link {member.name[:100]!r} leads outside of it, or nowhere")
    return target


def _make_links(folder: Path, links: list[tuple[Path, str]], called: str) -> None:
    """Make the links last, so that nothing is ever written through one.

    Where each really leads is looked up once all are there: links may lead through links.
    """
    for path, target in links:
        if path.exists() or path.is_symlink():
            raise _refused(called, f"it has {path.name!r} twice")
        make_private_folder(path.parent)
        path.symlink_to(target)
    top = folder.resolve()
    for path, _ in links:
        try:
            inside = path.resolve(strict=True).is_relative_to(top)
        except (OSError, RuntimeError):  # It leads nowhere, or in a circle.
            inside = False
        if not inside:
            raise _refused(called, f"the link {path.name!r} leads outside of it, or nowhere")


def _damaged(called: str, error: Exception) -> ModelURIError:
    return ModelURIError(
        f"{called!r} cannot be unpacked: {str(error)[:200] or type(error).__name__}.",
        "It is damaged or encrypted; make it anew.",
    )


def _refused(called: str, why: str) -> ModelURIError:
    return ModelURIError(
        f"Refused to unpack {called!r}: {why}.", "Nothing of it is used; check where it is from."
    )
