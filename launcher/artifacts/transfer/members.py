"""What is in a zip or tar archive, read with bounds that the archive modules do not have.

`zipfile` and `tarfile` take an archive's own word for how much of it is a header, and read and
keep that much. They are given streams here which count what is asked of them.
"""

from __future__ import annotations

import functools
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from launcher.artifacts.source import ModelURIError

if TYPE_CHECKING:
    import tarfile
    import zipfile

BLOCK = 1024 * 1024
"""Bytes of a member's contents that are held at once."""
DIRECTORY_LIMIT = 16 * 1024 * 1024
"""Bytes of a zip archive's directory: more than 100,000 files need."""
HEADER_LIMIT = 64 * 1024
"""Bytes of what a tar archive has before the contents of one member."""
HEADERS_LIMIT = 128 * 1024 * 1024
"""The same for all members together."""
LINK_LIMIT = 4096
XZ_MEMORY = 128 * 1024 * 1024
"""Bytes that unpacking .xz may take; `xz -9` needs 65 MiB."""
RECORD = 512
"""Bytes of the records that a tar archive is made of (POSIX pax, "ustar Interchange Format")."""
BLOCKING_FACTOR = 20
"""Records of which there are a multiple, as tar programs write them."""


class TooMuch(Exception):
    """An archive has more of something than any model needs."""


@dataclass(frozen=True)
class Member:
    """A file, folder or symbolic link of an archive; `open` and what it gives are for right now."""

    name: str
    size: int = 0
    """Bytes that the archive says its contents have."""
    open: Callable[[], IO[bytes]] | None = None
    """For a file: gives its contents."""
    target: str | None = None
    """For a link: where it leads, relative to its own folder."""
    is_usual: bool = True
    """Whether it is none of a device, pipe or socket."""


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def members_of(archive: Path, called: str) -> Iterator[Member]:
    """Yield what is in `archive`, in its order.

    :param called: its name for messages.
    :raises ModelURIError: it is neither a zip nor a tar archive.
    :raises TooMuch: it has more headers than any model needs.
    :raises Exception: what `zipfile`, `tarfile` and the modules under them raise for damage.
    """
    import tarfile
    import zipfile

    with archive.open("rb") as file:
        head = file.read(RECORD)
        file.seek(0)
        # Not `is_zipfile` first: a tar with a zip as its last member would pass for one.
        if _is_tar(head) or not zipfile.is_zipfile(file):
            file.seek(0)
            stream = _TarStream(_decompressed(head, file))
            try:
                packed = tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:")  # noqa: SIM115
            except tarfile.ReadError:
                raise ModelURIError(
                    f"{called!r} is neither a zip nor a tar archive.",
                    "Supported are .zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz.",
                ) from None
            yield from _tar_members(packed, stream)
        else:
            with zipfile.ZipFile(cast("IO[bytes]", _ZipFile(file))) as packed_zip:
                yield from (_zip_member(packed_zip, info) for info in packed_zip.infolist())


class _ZipFile:
    """A file whose directory, which `zipfile` reads in one piece, is bounded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell, self.seekable, self.close = file.tell, file.seekable, file.close

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset < 0 and whence == 0:
            raise EOFError("it has a file before its start")
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(DIRECTORY_LIMIT + 1 if size < 0 else min(size, DIRECTORY_LIMIT + 1))
        if len(data) > DIRECTORY_LIMIT:
            raise TooMuch(f"its list of files has more than {DIRECTORY_LIMIT >> 20} MiB")
        return data


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    import zipfile

    # The others are decompressed by `zipfile` without a bound.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TooMuch(f"{info.filename[:100]!r} is not packed by the method deflate")
    # The upper half is the Unix mode where a Unix program packed it, else 0.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        with file.open(info) as link:
            target = link.read(LINK_LIMIT + 1)
        return Member(info.filename, target=target.decode("utf-8", "surrogateescape"))
    if info.filename.endswith("/"):
        return Member(info.filename)
    if kind not in (0, stat.S_IFREG):
        return Member(info.filename, is_usual=False)
    return Member(info.filename, info.file_size, open=lambda: file.open(info))


class _TarStream:
    """The bytes of a tar archive, forward only; those that are no contents are counted."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._position = 0
        self._headers = self._header = 0
        self._in_contents = False
        self.last = b""
        """What was read last."""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if size < 0:
            raise EOFError("one of its sizes is negative")
        if not self._in_contents:
            self._header += size
            if self._header > HEADER_LIMIT:
                raise TooMuch("what it says of one of its files is too long")
        data = b""
        while len(data) < size and (more := self._source.read(size - len(data))):
            data += more
        self._position += len(data)
        self.last = data
        return data

    def seek(self, position: int) -> None:
        if position < self._position:
            raise EOFError("its parts overlap")
        while self._position < position and self.read(min(BLOCK, position - self._position)):
            pass

    def next_member(self) -> None:
        """Begin to count the header of another member."""
        self._headers += self._header
        self._header = 0
        if self._headers > HEADERS_LIMIT:
            raise TooMuch("what it says of its files is too long")

    @contextmanager
    def contents(self) -> Iterator[None]:
        """Count nothing: what is read are contents, which are counted as they are written."""
        self._in_contents = True
        yield
        self._in_contents = False


def _tar_members(packed: tarfile.TarFile, stream: _TarStream) -> Iterator[Member]:
    while (item := packed.next()) is not None:
        with stream.contents():
            yield _tar_member(packed, item)
        # It keeps them all otherwise, and what their headers say.
        packed.members = []  # type: ignore[attr-defined]
        packed.pax_headers.clear()  # type: ignore[attr-defined]
        stream.next_member()
    # `tarfile` takes what is cut at the border of two members, or no header at all, for an end.
    if stream.last != bytes(RECORD):
        raise EOFError("its end is missing")
    for _ in range(BLOCKING_FACTOR):  # A compressed file's checksum is behind what pads it.
        stream.read(RECORD)


def _tar_member(packed: tarfile.TarFile, item: tarfile.TarInfo) -> Member:
    import posixpath

    if item.isdir():
        return Member(item.name)
    if item.issym():
        return Member(item.name, target=item.linkname)
    if item.islnk():
        # A hard link names another member by its path from the top.
        start = posixpath.dirname(posixpath.normpath(item.name))
        return Member(item.name, target=posixpath.relpath(item.linkname or ".", start or "."))
    if not item.isfile():
        return Member(item.name, is_usual=False)
    return Member(item.name, item.size, open=lambda: cast("IO[bytes]", packed.extractfile(item)))


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar" or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))


def _decompressed(head: bytes, file: IO[bytes]) -> _Source:
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return cast("_Source", gzip.open(file))
    if head.startswith(b"BZh"):
        import bz2

        return cast("_Source", bz2.open(file))
    return _Xz(file) if head.startswith(b"\xfd7zXZ\x00") else file


class _Xz:
    """The decompressed bytes of an .xz file; `lzma.LZMAFile` has no bound for its memory."""

    def __init__(self, file: IO[bytes]) -> None:
        import lzma

        self._file = file
        self._new = functools.partial(lzma.LZMADecompressor, memlimit=XZ_MEMORY)
        self._stream = self._new()

    def read(self, size: int, /) -> bytes:
        while True:
            if self._stream.eof:  # Several streams, one after the other, make one file.
                rest = self._stream.unused_data or self._file.read(HEADER_LIMIT)
                if not rest:
                    return b""
                self._stream = self._new()
            elif self._stream.needs_input:
                rest = self._file.read(HEADER_LIMIT)
                if not rest:
                    raise EOFError("its end is missing")
            else:
                rest = b""
            if data := self._stream.decompress(rest, size):
                return data
