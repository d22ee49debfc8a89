"""Make ``serve.svg``: what a terminal shows of ``launcher serve``, as a real run has written it.

Usage, from the root of a clone, with ``pip install -e . pyte``:
``python docs/images/make_serve_svg.py``. The launcher runs in a pseudo-terminal with a home of its
own, so that it builds the environment. pyte is the terminal, whose screen is drawn as it is: what
is bold there is bold and coloured here. Colours follow the reader's light or dark theme.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyte

COLUMNS, LINES = 100, 60
MODEL = "fixtures/iris"
Run = tuple[str, bool]
_STYLE = """
    .back { fill: #f6f8fa; stroke: #d0d7de } .text { fill: #1f2328 }
    .strong { fill: #0a5ad1; font-weight: bold }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117; stroke: #3d444d } .text { fill: #f0f6fc }
      .strong { fill: #79b8ff }
    }
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre }
"""


def record() -> list[list[Run]]:
    """The lines of the screen once the server is ready, with the command before them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory(prefix="launcher-", dir="/tmp") as home:
        environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "serve", "-m", MODEL],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**environ, "TERM": "xterm-256color", "LAUNCHER_HOME": home},
        )  # fmt: skip
        os.close(theirs)
        seen = b""
        while not re.search(rb"stop: .*\n", seen):
            piece = os.read(ours, 65536)
            seen += piece
            stream.feed(piece)
        process.send_signal(signal.SIGINT)
        try:
            while os.read(ours, 65536):
                pass
        except OSError:  # Linux: the other side is closed
            pass
        os.close(ours)
        process.wait()
    lines = [_runs(screen.buffer[number]) for number in range(screen.cursor.y)]
    return [[(f"$ launcher serve -m {MODEL}", True)], *lines]


def _runs(cells: Mapping[int, Any]) -> list[Run]:
    """The texts of a line, cut where bold begins or ends."""
    kinds = groupby((cells[column] for column in range(COLUMNS)), lambda cell: cell.bold)
    runs = [("".join(cell.data for cell in group), bold) for bold, group in kinds]
    return [*runs[:-1], (runs[-1][0].rstrip(), runs[-1][1])]


def draw(lines: list[list[Run]]) -> str:
    """An SVG of the lines."""
    longest = max(sum(len(text) for text, _ in line) for line in lines)
    height, width = 24 + 19 * len(lines), 24 + 8 * longest
    drawn = []
    for number, line in enumerate(lines):
        kinds = [(escape(text), "strong" if bold else "plain") for text, bold in line]
        spans = "".join(f'<tspan class="{kind}">{text}</tspan>' for text, kind in kinds)
        drawn.append(f'<text class="text" x="12" y="{27 + 19 * number}">{spans}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>What launcher serve shows on a terminal</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="back" x="1" y="1" width="{width - 2}" height="{height - 2}" rx="8"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("serve.svg").write_text(draw(record()), encoding="utf-8")
