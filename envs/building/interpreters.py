"""Find a Python for a version: on this machine, else from uv.

uv lists what is there; which of it is taken is decided here. python-discovery (1.9.6), which
virtualenv uses, does not fit: it takes the first on PATH that satisfies a version, where an exact
patch release anywhere comes before the newest of its minor version here; of pyenv it sees only
the versions that are enabled at the moment, of conda only what is on PATH; and it runs every
candidate, where uv answers from its own cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs.building.context import Context
from envs.errors import EnvError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

# The order in which places are preferred for one version.
SOURCES = ("running", "PATH", "pyenv", "uv", "conda")

PROBE = """
import json, os, sys
from importlib.machinery import EXTENSION_SUFFIXES
base = getattr(sys, "_base_executable", None) or sys.executable
if sys.prefix != sys.base_prefix:
    name = "python%d.%d" % sys.version_info[:2]
    home = os.path.join(sys.base_prefix, "bin", name)
    base = home if os.path.exists(home) else base
print(json.dumps({
    "path": os.path.realpath(base),
    "version": sys.version.split()[0].rstrip("+"),
    "implementation": sys.implementation.name,
    "platform": "%s-%s" % (sys.platform, os.uname()[4]),
    "abi": EXTENSION_SUFFIXES[0],
}))
"""


class Interpreter(NamedTuple):
    """A Python that has run and told what it is.

    :param path: the real file of the base interpreter, never a shim or a virtual environment's.
    :param version: "3.7.16".
    :param implementation: "cpython", "pypy".
    :param platform: operating system and processor, "linux-x86_64".
    :param abi: the ending of its extension modules' names, ".cpython-37m-x86_64-linux-gnu.so".
    """

    path: str
    version: str
    implementation: str
    platform: str
    abi: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


class Candidate(NamedTuple):
    """A Python that discovery saw: its version is what discovery was told."""

    path: str
    version: str
    source: str


def find_interpreter(wanted: str | None, context: Context) -> Interpreter:
    """Return the interpreter for a version ("3.7.16", "3.7", ">=3.8,<3.11", None: the running).

    The exact version first, among the running interpreter, PATH, pyenv's versions, uv's managed
    Pythons and conda's environments; else the newest patch of the same minor version, said in
    one line; else one that uv installs, unless that is not allowed. A found interpreter is
    remembered in the home folder, so that the next call runs nothing.

    :raises EnvError: there is none; has the list of what was looked at.
    """
    running = _running()
    if wanted is None or wanted == running.version:
        return running
    memory = _Memory(context)
    return memory.recall(wanted) or memory.keep(wanted, _search(wanted, running, context))


def _running() -> Interpreter:
    path = getattr(sys, "_base_executable", None) or sys.executable
    if sys.prefix != sys.base_prefix:
        home = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
        path = str(home) if home.exists() else path
    return Interpreter(
        os.path.realpath(path),
        sys.version.split()[0].rstrip("+"),
        sys.implementation.name,
        f"{sys.platform}-{os.uname().machine}",
        EXTENSION_SUFFIXES[0],
    )


def _search(wanted: str, running: Interpreter, context: Context) -> Interpreter:
    first = Candidate(running.path, running.version, "running")
    candidates = [first, *discover(context, str(_accepted(wanted)))]
    for candidate in _ranked(wanted, candidates):
        interpreter = probe(candidate.path, context)
        if interpreter is not None and interpreter.version == candidate.version:
            return _said(wanted, interpreter, context)
    return _said(wanted, _installed(wanted, [first, *discover(context)], context), context)


def _said(wanted: str, interpreter: Interpreter, context: Context) -> Interpreter:
    if re.fullmatch(r"\d+\.\d+\.\d+", wanted) and interpreter.version != wanted:
        context.report(
            f"Python {wanted} is not on this machine: using {interpreter.version}"
            f" ({interpreter.path})"
        )
    return interpreter


def _ranked(wanted: str, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that will do, best first."""
    from packaging.version import Version

    accepted = _accepted(wanted)

    def rank(candidate: Candidate) -> tuple[bool, Any, int]:
        version = Version(candidate.version)
        newest_first = (-version.major, -version.minor, -version.micro)
        return candidate.version != wanted, newest_first, SOURCES.index(candidate.source)

    return sorted((c for c in candidates if accepted.contains(c.version)), key=rank)


def _accepted(wanted: str) -> SpecifierSet:
    """Return the versions that will do for a wanted one."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    exact = re.fullmatch(r"(?:={1,2})?\s*(\d+\.\d+)(?:\.[\d*]+)?", wanted.strip())
    try:
        return SpecifierSet(f"=={exact[1]}.*" if exact else wanted, prereleases=True)
    except InvalidSpecifier as error:
        raise EnvError(
            f"{wanted!r} is not a Python version.",
            hint="Write it like 3.11.7, 3.11 or >=3.9,<3.12.",
        ) from error


def discover(context: Context, accepted: str = "") -> list[Candidate]:
    """Return the Pythons that uv sees on PATH, in pyenv, in conda and of its own.

    :param accepted: a specifier set; saves uv from running Pythons of other versions.
    """
    from envs.building.environ import clean_environ
    from envs.building.process import read_output

    places = {
        "PATH": _path_folders(),
        "pyenv": _pyenv_folders(),
        "conda": _conda_folders(),
    }
    folders = [str(folder) for group in places.values() for folder in group]
    code, output = read_output(
        [context.uv, "python", "list", "--only-installed", "--offline", "--output-format", "json"]
        + ([accepted] if accepted else []),
        log=context.log,
        env=clean_environ({"PATH": os.pathsep.join(folders)}),
    )
    if code != 0:
        raise context.log.error(
            f"uv could not list the Pythons on this machine (exit code {code}).",
            hint="The build log has its words.",
        )
    found: dict[str, Candidate] = {}
    for row in json.loads(output):
        source = _source(str(Path(row["path"]).parent), places)
        candidate = Candidate(row["path"], row["version"], source)
        found.setdefault(os.path.realpath(candidate.path), candidate)
    return list(found.values())


def _source(folder: str, places: dict[str, list[Path]]) -> str:
    for source in ("pyenv", "conda", "PATH"):
        if any(folder == str(place) for place in places[source]):
            return source
    return "uv"


def _path_folders() -> list[Path]:
    """Return the folders of PATH without pyenv's shims: its versions are looked at themselves.

    A shim is slow, answers for what is enabled at the moment, and fails for the rest.
    """
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    return [f for f in folders if f.name != "shims" or _pyenv_root() not in f.parents]


def _pyenv_root() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def _pyenv_folders() -> list[Path]:
    versions = _pyenv_root() / "versions"
    return sorted(versions.glob("*/bin")) if os.access(versions, os.R_OK | os.X_OK) else []


def _conda_folders() -> list[Path]:
    """Return the ``bin`` folders of conda's environments, which conda lists in a file."""
    registry = Path.home() / ".conda" / "environments.txt"
    prefixes = [os.environ.get("CONDA_PREFIX"), os.environ.get("MAMBA_ROOT_PREFIX")]
    if os.access(registry, os.R_OK):
        prefixes += registry.read_text(encoding="utf-8").splitlines()
    return [Path(prefix.strip(), "bin") for prefix in prefixes if prefix and prefix.strip()]


def probe(path: str, context: Context) -> Interpreter | None:
    """Run a Python and return what it tells, or None where it does not run (see the log)."""
    from envs.building.process import read_output

    code, output = read_output([path, "-I", "-c", PROBE], log=context.log)
    if code != 0:
        return None
    return Interpreter(**json.loads(output))


def _installed(wanted: str, seen: list[Candidate], context: Context) -> Interpreter:
    from envs.building.process import run

    looked_at = ", ".join(sorted({f"{c.version} ({c.source})" for c in seen})) or "none"
    missing = f"There is no Python {wanted} on this machine (found {looked_at})"
    if context.offline or not context.python_downloads:
        raise EnvError(f"{missing}.", hint=f"Install it, e.g. with: uv python install {wanted}")
    context.report(f"Python {wanted} is not on this machine: installing it with uv")
    # Not every patch release is there to be downloaded: then the newest of the minor version.
    patch = re.fullmatch(r"(\d+\.\d+)\.\d+", wanted)
    for version in (wanted, patch[1]) if patch else (wanted,):
        command = [context.uv, "python", "install", version, "--no-bin", "--color", "never"]
        if run(command, log=context.log).returncode == 0:
            candidates = [c for c in discover(context) if c not in seen]
            for candidate in _ranked(wanted, candidates):
                if (interpreter := probe(candidate.path, context)) is not None:
                    return interpreter
    raise context.log.error(
        f"{missing}, and uv could not install it.",
        hint="Install that Python yourself, then try again.",
    )


class _Memory:
    """What was found for which wanted version, in a file of the home folder.

    An entry counts while its interpreter's file is unchanged and, for a version that was not
    found exactly, while no place to look at has changed.
    """

    def __init__(self, context: Context):
        self.path = context.home / "interpreters-3.json"
        self.entries: dict[str, Any] = {}
        # Nothing remembered yet, or a file that something else has damaged: found again.
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.entries = json.loads(self.path.read_bytes())

    def recall(self, wanted: str) -> Interpreter | None:
        entry = self.entries.get(wanted)
        if entry is None or entry["file"] != _stamp(Path(entry["interpreter"]["path"])):
            return None
        if entry["interpreter"]["version"] != wanted and entry["places"] != _places():
            return None
        return Interpreter(**entry["interpreter"])

    def keep(self, wanted: str, interpreter: Interpreter) -> Interpreter:
        from envs.disk.files import write_json

        self.entries[wanted] = {
            "interpreter": interpreter._asdict(),
            "file": _stamp(Path(interpreter.path)),
            "places": _places(),
        }
        write_json(self.path, self.entries, optional=True)
        return interpreter


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]


def _places() -> list[Any]:
    """Return the folders that discovery looks into, with the times they last changed."""

    def places() -> Iterator[Path]:
        yield from (Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p)
        yield _pyenv_root() / "versions"
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        yield Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
        yield Path.home() / ".conda" / "environments.txt"

    return [[str(place), _stamp(place)] for place in places()]
