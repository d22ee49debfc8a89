"""What an environment is made of, as a value, and the key that stands for it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from envs.errors import EnvError

KEY_LENGTH = 20  # hexadecimal digits: 80 bits, short enough for shebang lines
CANONICAL_VERSION = 1  # raise it where the same spec starts to give another environment
DEFAULT_BUILD_REQUIREMENTS = ("pip", "setuptools", "wheel")

_NAMED = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*"
    r"(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"(?P<versions>\(?[<>=!~][^;@]*)?\s*"
    r"(?:;(?P<marker>.*))?$"
)


@dataclass(frozen=True)
class EnvSpec:
    """All that decides what is inside an environment. It names no model and no server.

    :param env_manager: name of the manager, or an alias (see `envs.managers.registry`).
    :param python: version wanted: "3.7.16", "3.7", a specifier set such as ">=3.8,<3.11", or None
        for the version of the running interpreter. For conda also what follows ``python`` in a
        conda.yaml ("=3.7.16", " >=3.8,<3.11").
    :param requirements: lines in the syntax of pip's requirements files, options included
        (``-r``, ``-c``, ``--index-url``, ``--find-links``, ...). For conda: the ``pip:`` section.
    :param base_dir: the model's folder: relative paths in ``requirements`` start there, and none
        leads out of it. None: the working directory, and files anywhere.
    :param build_requirements: requirement lines for pip, setuptools and the like (MLflow's
        ``build_dependencies``); installed with the rest, in the same resolution.
    :param server_requirements: requirement lines that whoever runs in the environment adds; part
        of the same resolution.
    :param younger: packages (of ``server_requirements``) that may be newer than the model, each
        with the day up to which: "orjson=2026-11-01". Without a day the same spec would be another
        environment every month. A package that ``requirements`` name themselves is never exempted.
    :param logged_at: when the model was logged (aware, or naive UTC), None where that is unknown.
    :param as_of: the day to resolve as of: "auto" (``logged_at``, else today), "today", or a date
        "YYYY-MM-DD".
    :param copied_packages: folders of pure Python packages to copy into site-packages.
    :param lockfile: a ``pylock.toml``, ``uv.lock`` or ``conda-lock.yml`` to install from; nothing
        is resolved then.
    :param conda_channels: channels of a ``conda.yaml``, in order.
    :param conda_dependencies: its match specs, the ``pip:`` section and ``python`` left out.
    """

    env_manager: str = "virtualenv"
    python: str | None = None
    requirements: tuple[str, ...] = ()
    base_dir: Path | None = None
    build_requirements: tuple[str, ...] = DEFAULT_BUILD_REQUIREMENTS
    server_requirements: tuple[str, ...] = ()
    younger: tuple[str, ...] = ()
    logged_at: datetime | None = None
    as_of: str = "auto"
    copied_packages: tuple[Path, ...] = ()
    lockfile: Path | None = None
    conda_channels: tuple[str, ...] = ()
    conda_dependencies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.as_of not in ("auto", "today"):
            parse_date(self.as_of)

    def resolution_date(self) -> date | None:
        """Return the day to resolve as of, or None for today (no bound at all)."""
        if self.as_of == "today":
            return None
        if self.as_of != "auto":
            return parse_date(self.as_of)
        return as_utc(self.logged_at).date() if self.logged_at is not None else None

    def upload_bound(self) -> datetime | None:
        """Return the moment (UTC) up to which uploads count, or None for no bound.

        For ``auto`` that is the end of the day after the model was logged: the bound is a strict
        one on upload times, a model may pin what was uploaded minutes before it was logged, and
        clocks differ. Whole days let models of the same day share an environment. For an
        explicit date it is the end of that day.
        """
        day = self.resolution_date()
        if day is None:
            return None
        days = 2 if self.as_of == "auto" else 1
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        return midnight + timedelta(days=days)


def parse_date(text: str) -> date:
    """Return the date written as YYYY-MM-DD.

    :raises EnvError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise EnvError(
            f"Cannot resolve as of {text!r}.", hint="Use auto, today or a date YYYY-MM-DD."
        ) from error


def as_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; a naive one is taken for UTC, as MLflow writes it."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def normalize_name(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def normalize_requirement(line: str) -> str:
    """Return one spelling for requirement lines that mean the same.

    Works on text alone: the key is computed on every start, and importing a requirement parser
    costs more than all the rest of finding an environment. What is not a plain named
    requirement (URLs, hashes) is returned with single spaces.
    """
    text = " ".join(line.split())
    match = _NAMED.match(text)
    if match is None or " --" in text:
        return text
    extras = sorted({normalize_name(e.strip()) for e in (match["extras"] or "").split(",") if e})
    versions = re.sub(r"[\s()]", "", match["versions"] or "")
    marker = (match["marker"] or "").strip()
    return (
        normalize_name(match["name"])
        + (f"[{','.join(extras)}]" if extras else "")
        + ",".join(sorted(set(versions.split(","))))
        + (f" ; {marker}" if marker else "")
    )


def requirement_name(line: str) -> str | None:
    """Return the normalised name that a requirement line starts with, None for a bare path."""
    match = re.match(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[|\(|[<>=!~;@]|$|\s)", line)
    return normalize_name(match[1]) if match else None


def key_of(canonical: Mapping[str, Any]) -> str:
    """Return the key (hexadecimal, ``KEY_LENGTH`` digits) of a canonical form (JSON values)."""
    document = {"canonical_version": CANONICAL_VERSION, **canonical}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def hash_file(path: Path) -> str:
    """Return the sha256 (hexadecimal) of a file's content."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_folder(folder: Path) -> str:
    """Return the sha256 (hexadecimal) of a source tree: relative paths and contents.

    Caches, bytecode and version control are left out: they do not reach the environment.
    """
    skipped = {"__pycache__", ".git", ".hg", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and skipped.isdisjoint(relative.parts) and path.suffix != ".pyc":
            digest.update(f"{relative.as_posix()}\0{hash_file(path)}\0".encode())
    return digest.hexdigest()


def hash_lockfile(path: Path) -> list[list[str]]:
    """Return names and hashes of the files that a lockfile consists of.

    :raises EnvError: one cannot be read.
    """
    files = [path, path.with_name("pyproject.toml")] if path.name == "uv.lock" else [path]
    try:
        return [[file.name, hash_file(file)] for file in files]
    except OSError as error:
        raise EnvError(f"The lockfile {path} cannot be read: {error.strerror}.") from error
