"""What one fuzz target says about itself, and what counts as a find whatever the target is."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Input = Callable[[bytes], None]
# (data, longest, seed, the fuzzer's own mutation) to data.
Mutation = Callable[[bytes, int, int, Callable[[bytes, int], bytes]], bytes]


class Found(BaseException):
    """Something that must not be; no code under test can take it for an error of its own."""


@dataclass(frozen=True)
class Target:
    """One way into the code.

    :param prepare: given an empty folder, returns what is called with each input; what that raises
        is a find.
    :param longest: bytes of an input at most.
    :param seconds: processor time that one input may take.
    :param megabytes: what one input may add to the most memory that the process ever had.
    :param words: what the fuzzer should know of the format.
    :param mutate: knows the format better than the fuzzer does, or None.
    """

    prepare: Callable[[Path], Input]
    longest: int = 4096
    seconds: float = 5.0
    megabytes: int = 64
    words: Sequence[str] = ()
    mutate: Mutation | None = None


def bounded(target: Target, take: Input) -> Input:
    """The same, with too much time and too much memory for finds."""

    def run(data: bytes) -> None:
        memory = _most_memory()
        began = time.process_time()
        take(data)
        took = time.process_time() - began
        grown = _most_memory() - memory
        if took > target.seconds:
            raise Found(f"{took:.1f} s for {len(data)} bytes")
        if grown > target.megabytes:
            raise Found(f"{grown:.0f} MB for {len(data)} bytes")

    return run


def _most_memory() -> float:
    """The most memory that this process has had resident, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def files_of(data: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Files in one input: each begins with a line ``@@NUMBER``, the place of its name in ``names``.

    What comes before the first of these lines is the first file.
    """
    files: dict[str, bytes] = {}
    first, *others = (b"\n" + data).split(b"\n@@")
    files[names[0]] = first[1:]
    for other in others:
        number, _, content = other.partition(b"\n")
        files[names[int(number) % len(names) if number.isdigit() and len(number) < 4 else 0]] = (
            content
        )
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Make these the folder's only files."""
    for present in folder.iterdir():
        if present.name not in files:
            present.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
