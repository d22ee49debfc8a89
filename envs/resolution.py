"""From wide requirements to the exact, hashed list that gets installed, as of a day."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from envs.context import Context
from envs.errors import EnvError
from envs.files import disk_full
from envs.indexes import IndexSettings
from envs.process import Completed, clean_environ, run

FAR_FUTURE = "2999-01-01T00:00:00Z"
_NETWORK = re.compile(
    r"dns error|client error \(Connect\)|timed out|Failed to fetch|connection (refused|reset)"
    r"|Network connectivity is disabled|request or response body error",
    re.IGNORECASE,
)
_YOUNGER = re.compile(
    r"`(?P<name>[^`]+)` was filtered by `exclude-newer`.*?"
    r"requested version, v(?P<version>\S+), was published at (?P<day>\d{4}-\d\d-\d\d)",
    re.DOTALL,
)
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded")


@dataclass(frozen=True)
class Request:
    """What is to be resolved.

    Attributes:
        lines: requirement lines for uv.
        constraints: constraint lines.
        indexes: where packages come from.
        python: path of the interpreter to resolve for.
        day: the day to name in messages, None for today.
        bound: uploads count up to this moment (UTC), None for no bound.
        undated: packages that the bound does not hold for.
    """

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    indexes: IndexSettings
    python: str
    day: date | None = None
    bound: datetime | None = None
    undated: tuple[str, ...] = ()

    def dates(self) -> list[str]:
        """Return uv's options for the bound."""
        if self.bound is None:
            return []
        options = ["--exclude-newer", self.bound.strftime("%Y-%m-%dT%H:%M:%SZ")]
        for name in self.undated:
            options += ["--exclude-newer-package", f"{name}={FAR_FUTURE}"]
        return options


@dataclass(frozen=True)
class Resolution:
    """The exact list to install.

    Attributes:
        text: a requirements file: one pinned line a package, with hashes. May hold credentials.
        as_of: "2020-09-01" or "today".
        note: why it is today's although a day was asked for, one line, or None.
        dates: uv's options for the bound that was used; builds from source need them as well.
    """

    text: str
    as_of: str
    note: str | None = None
    dates: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a package, hashes left out."""
        starts = (line.split(" \\")[0].split(" --hash")[0] for line in self.text.splitlines())
        return tuple(s.strip() for s in starts if s[:1].strip() and s[0] not in "#-")

    @property
    def is_hashed(self) -> bool:
        """Whether every package has a hash (what comes from version control has none)."""
        return self.text.count("--hash=") > 0 and not re.search(
            r"^(?![#\s-])\S[^\n]*(?<!\\)$(?!\n\s+--hash)", self.text, re.MULTILINE
        )


def resolve(request: Request, context: Context) -> Resolution:
    """Return the resolution as of the requested day, else as of today, saying why.

    Raises EnvError where the requirements cannot be resolved at all, or no index answers.
    """
    if not request.lines:
        return Resolution("", "today" if request.day is None else request.day.isoformat())
    count = f"{len(request.lines)} requirement{'s' if len(request.lines) != 1 else ''}"
    if request.bound is None or request.day is None:
        context.report(f"resolving {count} as of today")
        return _resolved(request, _compile(request, context), context)
    day = request.day.isoformat()
    context.report(f"resolving {count} as of {day}")
    completed = _compile(request, context)
    if completed.returncode == 0 or _NETWORK.search(completed.text):
        return _resolved(request, completed, context)
    today = Request(request.lines, request.constraints, request.indexes, request.python)
    reason = _why_not_dated(completed.text, day)
    context.report(f"resolving {count} as of today: {reason}")
    return _resolved(today, _compile(today, context), context, note=reason)


def _compile(request: Request, context: Context) -> Completed:
    with _work_folder(context) as folder:
        source = folder / "requirements.in"
        _write_private(source, request.lines)
        output = folder / "resolved.txt"
        command: list[str | Path] = [
            context.uv,
            "pip",
            "compile",
            source,
            "--output-file",
            output,
        ]
        command += ["--python", request.python, "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-strip-extras", *request.dates()]
        if request.constraints:
            _write_private(folder / "constraints.txt", request.constraints)
            command += ["--constraints", folder / "constraints.txt"]
        completed = run_uv(command, request.indexes, context, folder)
        if completed.returncode == 0:
            text = output.read_text(encoding="utf-8")
            return Completed(0, tuple(text.splitlines()))
        return completed


def _resolved(
    request: Request, completed: Completed, context: Context, note: str | None = None
) -> Resolution:
    if completed.returncode != 0:
        raise resolution_error(completed.text, context)
    as_of = "today" if request.day is None else request.day.isoformat()
    return Resolution(completed.text + "\n", as_of, note, tuple(request.dates()))


def install(resolution: Resolution, indexes: IndexSettings, python: Path, context: Context) -> None:
    """Install exactly the resolved list into the environment of ``python``; EnvError if not."""
    count = len(resolution.lines)
    if count == 0:
        return
    context.report(f"installing {count} package{'s' if count != 1 else ''}")
    with _work_folder(context) as folder:
        listed = folder / "resolved.txt"
        _write_private(listed, [resolution.text])
        command: list[str | Path] = [context.uv, "pip", "install", "--python", python]
        command += ["--no-deps", "-r", listed]
        command += ["--require-hashes"] if resolution.is_hashed else []
        command += resolution.dates
        completed = run_uv(command, indexes, context, folder)
    if completed.returncode != 0:
        raise resolution_error(completed.text, context, "the packages could not be installed")


def run_uv(
    command: list[str | Path], indexes: IndexSettings, context: Context, cwd: Path
) -> Completed:
    """Run uv with the index settings, reporting downloads and builds as they begin."""
    options = [*indexes.options(), "--color", "never"]
    variables = indexes.environ(os.environ)
    if context.wheelhouse is not None:
        options += ["--no-index", "--find-links", str(context.wheelhouse)]
    if context.offline or context.wheelhouse is not None:
        options.append("--offline")

    def on_line(line: str) -> None:
        begun = re.match(r"\s*(Downloading|Building) (\S+)", line)
        if begun:
            context.report(f"{begun[1].lower()} {begun[2]}")

    env = clean_environ({**variables, "UV_PYTHON_DOWNLOADS": "never"})
    return run(
        [*command, *options],
        log=context.log,
        env=env,
        cwd=cwd,
        stdout=subprocess.DEVNULL,  # a copy of what is in the output file
        on_line=on_line,
    )


def _why_not_dated(text: str, day: str) -> str:
    """Return in words why nothing could be resolved as of a day."""
    younger = _YOUNGER.search(text)
    if younger:
        return f"{younger['name']} {younger['version']} is from {younger['day']}, later than {day}"
    if "missing an upload date" in text:
        return "the package index gives no upload times"
    return f"as of {day} there is no solution"


def resolution_error(
    text: str, context: Context, what: str = "the requirements cannot be resolved"
) -> EnvError:
    """Return the error for what uv printed: its reason in one line."""
    if _DISK_FULL.search(text):
        error = disk_full(context.home)
        return context.log.error(error.message, error.hint)
    reason = _reason(text)
    if _NETWORK.search(text):
        if context.offline or context.wheelhouse is not None:
            hint = "run once with a network, or give a wheelhouse that has it"
        else:
            hint = "check the network and the index settings (PIP_INDEX_URL, UV_DEFAULT_INDEX)"
    else:
        hint = "correct that requirement of the model"
    return context.log.error(f"{what}: {reason}", hint)


def _reason(text: str) -> str:
    plain = " ".join(re.sub("[\u00d7\u2500-\u257f\u25b6]", " ", text).split())
    because = re.search(r"Because (.*?)(?:,? we can conclude| hint:|$)", plain)
    if because:
        return because[1].rstrip(".,")
    mismatch = re.search(r"Hash mismatch for `([^`]+)`", plain)
    if mismatch:
        return f"the hash of {mismatch[1]} is not the expected one"
    error = re.search(r"error: (.*?)(?: cause: (.*?))?(?: cause: | hint: |$)", plain)
    if error:
        return error[1] + (f": {error[2]}" if error[2] else "")
    return plain[-300:] or "uv gave no reason"


@contextmanager
def _work_folder(context: Context) -> Iterator[Path]:
    """A private folder for one run of uv, cut off from any project whose settings it would read."""
    with tempfile.TemporaryDirectory(prefix="launcher-", dir=context.work) as name:
        folder = Path(name)
        (folder / "uv.toml").touch()  # uv looks no further up than this
        yield folder


def _write_private(path: Path, lines: Iterable[str]) -> None:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
