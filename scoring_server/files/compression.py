"""Files that are compressed: gzip (.gz), bzip2 (.bz2) and xz."""

from __future__ import annotations

import contextlib
import zlib
from typing import Any, BinaryIO, Callable, Dict, Iterator, Optional

from ..errors import ScoringError, reason


@contextlib.contextmanager
def compressed(stream: BinaryIO, kind: Optional[str], mode: str) -> Iterator[BinaryIO]:
    """What a stream holds when it is unpacked, or packs what is written into it.

    :param kind: "gz", "bz2" or "xz"; None leaves it as it is.
    :param mode: "rb" or "wb".
    :raises ScoringError: it is not of that kind, or ends too early.
    """
    if kind is None:
        yield stream
        return
    try:
        with _OPEN[kind](stream, mode) as other:
            yield other
    except ScoringError:
        raise
    except Exception as error:
        # What is written passes by here when reading has failed.
        if mode != "rb" or not _is_damage(error):
            raise
        raise ScoringError(
            "The input is not whole {} data: {}.".format(kind, reason(error))
        ) from error


def _is_damage(error: BaseException) -> bool:
    import lzma

    # An OSError without a number is what the libraries say of data; with one it is the system's.
    is_of_data = isinstance(error, OSError) and error.errno is None
    return is_of_data or isinstance(error, (EOFError, zlib.error, lzma.LZMAError))


def _gzip(stream: BinaryIO, mode: str) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=stream, mode=mode)


# Imported when they are wanted: a Python may have been built without them.
def _bzip2(stream: BinaryIO, mode: str) -> Any:
    import bz2

    return bz2.BZ2File(stream, "wb" if mode == "wb" else "rb")


def _xz(stream: BinaryIO, mode: str) -> Any:
    import lzma

    return lzma.LZMAFile(stream, mode)


_OPEN: Dict[str, Callable[[BinaryIO, str], Any]] = {"gz": _gzip, "bz2": _bzip2, "xz": _xz}
