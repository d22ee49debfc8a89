"""A model's requirements with the files that they include: a value or an EnvError, soon.

Nothing outside of the model's folder is opened or listed: the interpreter tells of each file that
is (an audit hook).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from envs.errors import EnvError
from envs.pip.requirements_file import flatten
from tests.fuzz.target import Found, Input, Target, files_of, write_files

# By number in an input (`files_of`); the first are the lines that the model itself gives.
NAMES = ("given", "requirements.txt", "other.txt", "constraints.txt", "a-1-py3-none-any.whl")
ENVIRON = {"TOKEN": "secret-token", "EMPTY": ""}


def prepare(folder: Path) -> Input:
    inside = os.path.realpath(folder)
    (folder / "x").mkdir()
    model = folder / "x"
    is_watching = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_watching or event not in ("open", "os.listdir", "os.scandir"):
            return
        path = arguments[0]
        if not isinstance(path, (str, bytes)):
            return
        real = os.path.realpath(os.fsdecode(path))
        if not Path(real).is_relative_to(inside) and not _imports():
            raise Found(f"{event} {path!r}")

    sys.addaudithook(hook)

    def take(data: bytes) -> None:
        nonlocal is_watching
        files = files_of(data, NAMES)
        given = files.pop(NAMES[0])
        write_files(model, files)
        lines = given.decode("utf-8", "replace").splitlines()
        is_watching = True
        try:
            flatten(lines, model, ENVIRON)
        except EnvError:
            return
        finally:
            is_watching = False

    return take


def _imports() -> bool:
    """Whether it is an import that opens the file."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


TARGET = Target(
    prepare,
    longest=16384,
    seconds=2.0,
    words=(
        "-r ", "-c ", "-e ", "-f ", "-i ", "--requirement=", "--constraint=", "--editable=",
        "--find-links=", "--index-url=", "--extra-index-url=", "--pre", "--no-index", "--hash=",
        "--no-binary=", "file:", "file:///", "git+file:///", "other.txt", "requirements.txt",
        "constraints.txt", "../", "../../../etc/passwd", "/etc/passwd", "/dev/zero", "~nobody",
        "~", "x @ ", "${TOKEN}", "${EMPTY}", "\\\n", " #", "; python_version", "[a,b]", "==1.0",
        ".whl", "a-1-py3-none-any.whl", "\n@@1\n", "\n@@2\n", "\n@@3\n", "\n@@4\n", "%00", "%2e",
        "\\0", "./", "'", '"',
    ),
)  # fmt: skip
