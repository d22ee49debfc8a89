"""What each of the scripts is asked for, and the environment that it measures in."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.installing import ROOT, install_launcher

MODEL = ROOT / "fixtures" / "iris"


class Asked(NamedTuple):
    """How often to measure, a folder for what is built, and the environment's interpreter."""

    times: int
    cache: Path
    python: Path


@contextlib.contextmanager
def asked(program: str, says: str | None, counted: str, times: int) -> Iterator[Asked]:
    """Read the arguments, and have the model's environment.

    :param program: the module's name below this package; empty for the package itself.
    :param says: its docstring.
    :param counted: the option that says how often to measure, without dashes.
    :param times: its default.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.start{program and '.'}{program}",
        description=(says or "").split("\n")[0],
    )
    parser.add_argument(f"--{counted}", dest="times", type=int, default=times)
    parser.add_argument("--cache", type=Path, help="a folder that is kept, for another run")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cache = options.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache.mkdir(exist_ok=True)
        yield Asked(options.times, cache, install_launcher(MODEL, cache))
