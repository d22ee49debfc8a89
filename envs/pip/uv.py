"""Running uv: its settings, its progress, and its words in one line."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from envs.building.context import Context
from envs.building.environ import clean_environ
from envs.building.process import Completed, run
from envs.disk.files import disk_full
from envs.errors import EnvError
from envs.pip.indexes import IndexSettings

_NETWORK = re.compile(
    r"dns error|client error \(Connect\)|timed out|Failed to fetch|connection (refused|reset)"
    r"|network (was|connectivity is) disabled|request or response body error",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded")
_MOST_STEPS = 4
_DECORATION = re.compile("[\u00d7\u2500-\u257f\u25b6]")  # how older versions draw causes


def run_uv(
    arguments: Iterable[str | Path],
    indexes: IndexSettings,
    context: Context,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
) -> Completed:
    """Run uv with the index settings, reporting downloads and builds as they begin.

    :param variables: of the environment, beside those of this process.
    """
    if context.wheelhouse is not None:
        # The wheelhouse replaces all indexes, and what of theirs has to be built is built there.
        indexes = IndexSettings(
            find_links=(str(context.wheelhouse),), no_index=True, pre=indexes.pre
        )
    options = [*indexes.options(), "--color", "never"]
    arguments = list(arguments)
    if (context.offline or context.wheelhouse is not None) and "--offline" not in arguments:
        options.append("--offline")

    def on_line(line: str) -> None:
        begun = re.match(r"\s*(Downloading|Building) (\S+)", line)
        if begun:
            context.report(f"{begun[1].lower()} {begun[2]}")

    return run(
        [context.uv, *arguments, *options],
        log=context.log,
        env=clean_environ(
            {
                **indexes.environ(os.environ),
                "UV_PYTHON_DOWNLOADS": "never",
                **(variables or {}),
            }
        ),
        cwd=cwd,
        stdout=subprocess.DEVNULL,  # a copy of what goes to an output file
        on_line=on_line,
    )


@contextmanager
def work_folder(context: Context) -> Iterator[Path]:
    """A private folder for one run of uv, cut off from any project whose settings it would read."""
    with tempfile.TemporaryDirectory(prefix="launcher-", dir=context.work) as name:
        folder = Path(name)
        (folder / "uv.toml").touch()  # uv looks no further up than this
        yield folder


def write_private(path: Path, lines: Iterable[str]) -> None:
    """Write lines that may hold credentials: readable for this user alone."""
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def is_network_failure(text: str) -> bool:
    """Tell whether what uv printed says that an index could not be reached."""
    return _NETWORK.search(text) is not None


def uv_error(text: str, context: Context, what: str, hint: str | None = None) -> EnvError:
    """Return the error for what uv printed: ``what`` went wrong, and uv's reason in one line.

    :param hint: for the case that neither the disk nor the network is to blame.
    """
    if _DISK_FULL.search(text):
        error = disk_full(context.home)
        return context.log.error(error.message, error.hint)
    if is_network_failure(text):
        if context.offline or context.wheelhouse is not None:
            hint = "Run it once with a network, or give a wheelhouse that has what is missing."
        else:
            hint = "Check the network and the index settings (PIP_INDEX_URL, UV_DEFAULT_INDEX)."
    return context.log.error(f"{what}: {reason(text).rstrip('.')}.", hint)


def reason(text: str) -> str:
    """Return the reason in what uv printed, in one line."""
    plain = " ".join(_DECORATION.sub(" ", text).split())
    # Each step of the proof has one side of a contradiction: the first alone says nothing.
    because = re.findall(r"\b[Bb]ecause (.*?)(?:,? we can conclude| hint:|$)", plain)
    if because:
        if len(because) > _MOST_STEPS:
            because = [*because[: _MOST_STEPS - 1], because[-1]]
        return "; and ".join(step.rstrip(".,") for step in because)
    mismatch = re.search(r"Hash mismatch for `([^`]+)`", plain)
    if mismatch:
        return f"the hash of {mismatch[1]} is not the expected one"
    error = re.search(r"error: (.*?)(?: cause: (.*?))?(?: cause: | hint: |$)", plain)
    if error:
        return error[1] + (f": {error[2]}" if error[2] else "")
    return plain[-300:] or "it gave no reason"
