"""The scoring server with its instructions counted: ``python counted_server.py COUNTS SERVER...``.

COUNTS is a file of two numbers for each process that was forked, as `counts_in` reads them: bytecode
instructions of the server's own modules, and of all modules. All run as without the counting, only
slower; what libraries do in C is one instruction.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MOST_PROCESSES = 16
_PAIR = struct.Struct("qq")
SIZE = MOST_PROCESSES * _PAIR.size


def counts_in(path: str) -> tuple[int, int]:
    """The instructions so far, of all processes: of the server's own modules, of all modules."""
    with Path(path).open("rb") as file:
        pairs = list(_PAIR.iter_unpack(file.read(SIZE)))
    return sum(own for own, _ in pairs), sum(every for _, every in pairs)


def count_into(path: str, own_folder: str) -> None:
    """Count from here on, in this process and in those that are forked from it."""
    with Path(path).open("r+b") as file:
        counts = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")
    forks, place = 0, 0

    def fork() -> None:
        nonlocal forks
        forks += 1

    def move() -> None:
        nonlocal place
        place = 2 * forks

    os.register_at_fork(before=fork, after_in_child=move)

    def instruction(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            counts[place + 1] += 1
        return instruction

    def own_instruction(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            counts[place] += 1
            counts[place + 1] += 1
        return own_instruction

    ways: dict[CodeType, Any] = {}

    def call(frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        way = ways.get(code)
        if way is None:
            is_own = code.co_filename.startswith(own_folder)
            way = ways[code] = own_instruction if is_own else instruction
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return way

    threading.settrace(call)
    sys.settrace(call)


def main(counts: str, root: str, *arguments: str) -> int:
    """Run the server of a checkout, counting once the model is loaded."""
    sys.path.insert(0, root)
    import scoring_server.serving as serving
    from scoring_server import command_line

    serve = serving.serve

    def counted(*given: Any) -> int:
        count_into(counts, f"{root}/scoring_server/")
        return serve(*given)

    # `command_line` asks this module for it when the model is there.
    setattr(serving, "serve", counted)  # noqa: B010 - mypy holds functions to be constants
    return command_line.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
