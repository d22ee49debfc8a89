"""From wide requirements to the exact, hashed list that gets installed, as of a day."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from envs.building.context import Context
from envs.building.process import Completed
from envs.pip.indexes import IndexSettings
from envs.pip.platforms import MACOS, Platform
from envs.pip.uv import is_network_failure, run_uv, uv_error, work_folder, write_private
from envs.spec import requirement_name

_YOUNGER = re.compile(
    r"`(?P<name>[^`]+)` was filtered by `exclude-newer`.*?"
    r"requested version, v(?P<version>\S+), was published at (?P<day>\d{4}-\d\d-\d\d)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Request:
    """What is to be resolved.

    :param lines: requirement lines for uv.
    :param constraints: constraint lines.
    :param indexes: where packages come from.
    :param python: path of the interpreter to resolve for.
    :param version: of Python ("3.11") to resolve for instead of the interpreter's, or None.
    :param day: the day to name in messages, None for today.
    :param bound: uploads count up to this moment (UTC), None for no bound.
    :param younger: packages with a day of their own, which counts where it is later than the
        bound: "orjson=2026-11-01".
    :param annotated: whether a requirements file says who asks for each package ("# via").
    :param platform: what to resolve for; None for this machine.
    """

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    indexes: IndexSettings
    python: str
    day: date | None = None
    bound: datetime | None = None
    younger: tuple[str, ...] = ()
    platform: Platform | None = None
    version: str | None = None
    annotated: bool = False

    def dates(self) -> list[str]:
        """Return uv's options for the bound."""
        if self.bound is None:
            return []
        options = ["--exclude-newer", self.bound.strftime("%Y-%m-%dT%H:%M:%SZ")]
        for each in self.younger:
            if each.partition("=")[2] > self.bound.strftime("%Y-%m-%d"):
                options += ["--exclude-newer-package", f"{each}T00:00:00Z"]
        return options


@dataclass(frozen=True)
class Resolution:
    """The exact list to install.

    :param text: a requirements file, one pinned line a package with hashes, or a
        ``pylock.toml``. May hold credentials.
    :param as_of: "2020-09-01" or "today".
    :param note: why it is today's although a day was asked for, one line, or None.
    :param dates: uv's options for the bound that was used; builds from source need them as well.
    """

    text: str
    as_of: str
    note: str | None = None
    dates: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[str]:
        """The packages of a requirements file: each its pinned line and the lines of hashes."""
        return re.findall(r"^(?![#\s-]).+(?:\n[ \t].*)*", self.text, re.MULTILINE)

    @property
    def is_hashed(self) -> bool:
        """Whether every package has a hash (what comes from version control has none)."""
        return all("--hash=" in block for block in self.blocks)

    def without(self, names: Container[str | None]) -> Resolution:
        """Return the resolution without the packages of these (normalised) names."""
        kept = [block for block in self.blocks if requirement_name(block) not in names]
        return replace(self, text="".join(f"{block}\n" for block in kept))


def resolve(
    request: Request, context: Context, file_format: str = "requirements.txt"
) -> Resolution:
    """Return the resolution as of the requested day, else as of today, saying why.

    :param file_format: "requirements.txt" or "pylock.toml".
    :raises EnvError: the requirements cannot be resolved at all, or no index answers.
    """
    if not request.lines:
        return Resolution("", "today" if request.day is None else request.day.isoformat())
    request, completed, note = _attempt(request, context, file_format)
    return _resolved(request, completed, context, note)


def objection(request: Request, context: Context) -> str | None:
    """Return what the resolver has against a request; None where it can be resolved.

    :raises EnvError: no index answers, so that nothing is known.
    """
    _, completed, _ = _attempt(request, context, "requirements.txt")
    if completed.returncode == 0:
        return None
    if is_network_failure(completed.text):
        raise uv_error(completed.text, context, "No index answers")
    return completed.text


def _attempt(
    request: Request, context: Context, file_format: str
) -> tuple[Request, Completed, str | None]:
    """Resolve as of the requested day, else as of today; what was asked for at last, and why."""
    count = f"{len(request.lines)} requirement{'s' if len(request.lines) != 1 else ''}"
    count += f" for {request.platform.name}" if request.platform is not None else ""
    note = None
    if request.bound is not None and request.day is not None:
        day = request.day.isoformat()
        context.report(f"resolving {count} as of {day}")
        completed = _compile(request, file_format, context)
        if completed.returncode == 0 or is_network_failure(completed.text):
            return request, completed, None
        note = _why_not_dated(completed.text, day)
        request = replace(request, day=None, bound=None)
    context.report(f"resolving {count} as of today" + (f": {note}" if note else ""))
    return request, _compile(request, file_format, context), note


def _compile(request: Request, file_format: str, context: Context) -> Completed:
    """Run the resolver; what it printed, or the resolved file's lines where it succeeded."""
    with work_folder(context) as folder:
        source, output = folder / "requirements.in", folder / f"resolved.{file_format}"
        if file_format == "pylock.toml":
            output = folder / file_format
        write_private(source, request.lines)
        arguments: list[str | Path] = ["pip", "compile", source, "--output-file", output]
        arguments += ["--format", file_format, "--python", request.python]
        arguments += ["--no-header", *request.dates()]
        arguments += ["--annotation-style", "line"] if request.annotated else ["--no-annotate"]
        variables: dict[str, str] = {}
        if request.platform is not None:
            arguments += ["--python-platform", request.platform.uv]
            variables["MACOSX_DEPLOYMENT_TARGET"] = ".".join(map(str, MACOS))
        if file_format == "requirements.txt":
            arguments += ["--generate-hashes", "--no-strip-extras"]
        if request.version is not None:
            arguments += ["--python-version", request.version]
        if request.constraints:
            write_private(folder / "constraints.txt", request.constraints)
            arguments += ["--constraints", folder / "constraints.txt"]
        completed = run_uv(arguments, request.indexes, context, folder, variables)
        if completed.returncode == 0:
            return Completed(0, tuple(output.read_text(encoding="utf-8").splitlines()))
        return completed


def _resolved(
    request: Request, completed: Completed, context: Context, note: str | None
) -> Resolution:
    if completed.returncode != 0:
        what, hint = "The requirements cannot be resolved", "Correct that requirement of the model."
        if request.platform is not None:
            what += f" for {request.platform.name}"
            hint = "Correct that requirement of the model, or leave that platform out."
        raise uv_error(completed.text, context, what, hint)
    as_of = "today" if request.day is None else request.day.isoformat()
    resolution = Resolution(completed.text + "\n", as_of, note, tuple(request.dates()))
    for line in request.lines:
        if "--hash" in line:
            resolution = _held_to_hashes(resolution, line, context)
    return resolution


def _held_to_hashes(resolution: Resolution, line: str, context: Context) -> Resolution:
    """Return the resolution with the hashes that a requirement line demands, and no others.

    The resolver forgets them: it writes those of all files that the index has.
    """
    demanded = re.findall(r"--hash[= ](\S+)", line)
    if resolution.text.startswith("lock-version"):
        if not any(text.partition(":")[2] in resolution.text for text in demanded):
            raise context.log.error(f"No index has {line.split()[0]} with the hash it demands.")
        return resolution
    name = requirement_name(line)
    blocks = [
        " \\\n    ".join([block.split(" \\")[0], *(f"--hash={text}" for text in demanded)])
        if requirement_name(block) == name
        else block
        for block in resolution.blocks
    ]
    return replace(resolution, text="".join(f"{block}\n" for block in blocks))


def _why_not_dated(text: str, day: str) -> str:
    """Return in words why nothing could be resolved as of a day."""
    younger = _YOUNGER.search(text)
    if younger:
        return f"{younger['name']} {younger['version']} is from {younger['day']}, later than {day}"
    if "missing an upload date" in text:
        return "the package index gives no upload times"
    return f"as of {day} there is no solution"


def install(resolution: Resolution, indexes: IndexSettings, python: Path, context: Context) -> None:
    """Install exactly the resolved list into the environment of ``python``.

    :raises EnvError: one cannot be had unchanged.
    """
    count = len(resolution.blocks)
    if count == 0:
        return
    context.report(f"installing {count} package{'s' if count != 1 else ''}")
    with work_folder(context) as folder:
        listed = folder / "resolved.txt"
        write_private(listed, [resolution.text])
        arguments: list[str | Path] = ["pip", "install", "--python", python, "--no-deps"]
        arguments += ["-r", listed, *resolution.dates]
        arguments += ["--require-hashes"] if resolution.is_hashed else []
        # What the resolver has just asked the index need not be asked again: from uv's cache
        # where all is there, which is found out without a download.
        completed = run_uv([*arguments, "--offline"], indexes, context, folder)
        if completed.returncode != 0 and not context.offline:
            completed = run_uv(arguments, indexes, context, folder)
    if completed.returncode != 0:
        raise uv_error(completed.text, context, "The packages could not be installed")
