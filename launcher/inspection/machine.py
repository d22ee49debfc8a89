"""What this machine has of what the launcher uses."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envs.building.context import Context
from envs.building.environ import clean_environ
from envs.building.interpreters import discover
from envs.building.log import bare
from envs.disk.files import folder_files
from envs.disk.home import launcher_home
from envs.errors import EnvError
from envs.extras import how_to_install
from envs.pip.indexes import IndexSettings
from launcher.errors import LauncherError
from launcher.images.builders import BUILDERS, docker_answers
from launcher.inspection.findings import MISSING, OK, WARNING, Finding, Probe
from launcher.quantities import format_size
from scoring_server.container.cpu_limits import available_cpus

_ROOM = 2 << 30  # bytes; an environment of scikit-learn and MLflow takes a quarter of it
_MEMORY = 1 << 30
_DESCRIPTORS = 4096
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Extras for people who develop the launcher.
_NOT_FOR_USERS = ("test", "dev")


def machine_probes(*, offline: bool) -> list[Probe]:
    """Return what there is to find out about this machine.

    :param offline: whether no network may be touched.
    """
    return [
        Probe("launcher", "serves models", _launcher),
        Probe("uv", "resolves and installs packages", _uv),
        Probe("Pythons", "a model gets the one that it was logged with", _pythons),
        Probe("index", "packages come from it", lambda: _index(offline=offline)),
        Probe("home", "environments, models and logs are kept there", _home),
        Probe("disk", "environments and models take room", _disk),
        Probe("memory", "each worker holds the model", _memory),
        Probe("CPUs", "--workers, and threads of libraries", _cpus),
        Probe("open files", "a connection is one", _open_files),
        Probe("kernel", "supervision of processes", _kernel),
        Probe("conda", "--env-manager conda", _conda),
        Probe("R", "models of R (crate)", _r),
        Probe("image builder", "build-docker", _builders),
        Probe("extras", "stores of objects, images and more", _extras),
    ]


def _launcher() -> Finding:
    version = metadata.version("mlmodel-launcher")
    python = f"Python {sys.version.split()[0]} ({sys.executable})"
    return Finding("launcher", OK, f"{version} on {python}", "serves models")


def _uv() -> Finding:
    purpose = "resolves and installs packages"
    try:
        done = subprocess.run(
            [Context().uv, "--version"], capture_output=True, text=True, check=True, timeout=8
        )
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        hint = "pip install --force-reinstall uv"
        return Finding("uv", MISSING, f"does not run: {error}", purpose, hint, needed=True)
    return Finding("uv", OK, done.stdout.split()[1], purpose)


def _pythons() -> Finding:
    versions = {each.version for each in discover(Context(offline=True))}
    ordered = sorted(versions, key=lambda text: [int(n) for n in re.findall(r"\d+", text)])
    purpose = "a model gets the one that it was logged with; uv downloads others"
    if not versions:
        hint = "uv python install 3.11"
        return Finding("Pythons", WARNING, "none besides the launcher's own", purpose, hint)
    return Finding("Pythons", OK, ", ".join(ordered), purpose)


def _index(*, offline: bool) -> Finding:
    purpose = "packages come from it"
    settings = IndexSettings().under(os.environ)
    default = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    url = settings.index_url or default
    shown = "PyPI" if url is None else bare(url)
    if settings.no_index or os.environ.get("UV_NO_INDEX"):
        return Finding("index", OK, "none: the settings say so (no-index)", purpose)
    if offline:
        return Finding("index", OK, f"{shown}, not asked (offline)", purpose)
    if url is None:
        return _index_of_uv(shown, purpose)
    if "://" not in url or url.startswith("file:"):
        folder = Path(unquote(urlsplit(url).path))
        if folder.is_dir():
            return Finding("index", OK, shown, purpose)
        hint = "Check PIP_INDEX_URL and UV_DEFAULT_INDEX."
        return Finding("index", MISSING, f"{shown}: no such folder", purpose, hint, needed=True)
    import requests

    # As uv is told of it, which reads no variable of requests.
    trusted = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or True
    page = f"{url.rstrip('/')}/pip/"  # of a package that every index has
    try:
        # Of its content nothing is read.
        with requests.get(page, timeout=(4, 4), stream=True, verify=trusted) as answer:
            status, took = answer.status_code, answer.elapsed.total_seconds()
    except requests.RequestException as error:
        reason = type(error).__name__
        hint = "Check the network, the proxy and PIP_INDEX_URL or UV_DEFAULT_INDEX; --offline."
        text = f"{shown} does not answer ({reason})"
        return Finding("index", MISSING, text, purpose, hint, needed=True)
    if status in (401, 403):
        hint = "Put the credentials into the index's URL, or into ~/.netrc."
        return Finding("index", MISSING, f"{shown} refuses ({status})", purpose, hint, needed=True)
    state = OK if status < 400 or status == 404 else WARNING
    return Finding("index", state, f"{shown} answers ({status}, {took:.2f} s)", purpose)


def _index_of_uv(shown: str, purpose: str) -> Finding:
    """Have uv ask the index that it takes where none is set, for a package that each has."""
    command = [Context().uv, "pip", "compile", "--quiet", "--no-deps", "--refresh", "-"]
    environ = {**os.environ, "UV_HTTP_TIMEOUT": "4", "UV_HTTP_RETRIES": "0"}
    started = time.monotonic()
    try:
        subprocess.run(
            [*command, "--python", sys.executable],
            input="pip", capture_output=True, text=True, check=True, timeout=8, env=environ,
        )  # fmt: skip
    except (OSError, ImportError, subprocess.SubprocessError):
        hint = "Check the network and the proxy; --offline."
        text = f"{shown} does not answer"
        return Finding("index", MISSING, text, purpose, hint, needed=True)
    return Finding("index", OK, f"{shown} answers ({time.monotonic() - started:.2f} s)", purpose)


def _home() -> Finding:
    purpose = "environments, models and logs are kept there"
    try:
        home = launcher_home()
    except EnvError as error:
        return Finding("home", MISSING, error.message, purpose, error.hint, needed=True)
    existing = _nearest(home)
    try:
        _try_files(existing)
    except OSError as error:
        what = "cannot be locked" if error.errno in _NO_LOCKS else "cannot be written to"
        where = "" if existing == home else f"{existing} "
        hint = "Set LAUNCHER_HOME to a folder of yours, on a local disk."
        text = f"{home}: {where}{what} ({error.strerror})"
        return Finding("home", MISSING, text, purpose, hint, needed=True)
    if existing != home:
        return Finding("home", OK, f"{home}, not there yet", purpose)
    status = home.stat()
    mode = stat.S_IMODE(status.st_mode)
    text = f"{home}, mode {mode:o}"
    if status.st_uid not in (0, os.geteuid()) or mode & 0o022:
        hint = "Others can change the code that runs from it: chmod 700, or another LAUNCHER_HOME."
        return Finding("home", WARNING, text, purpose, hint)
    return Finding("home", OK, text, purpose)


def _try_files(folder: Path) -> None:
    """Make a file in a folder, and lock it, as it is done where an environment is built.

    :raises OSError: one of that cannot be done.
    """
    # By name: some file systems have no files without one.
    with tempfile.NamedTemporaryFile(prefix=".launcher-", dir=folder) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _disk() -> Finding:
    purpose = "environments and models take room"
    home = launcher_home()
    free = shutil.disk_usage(_nearest(home)).free
    parts = []
    for name in ("envs", "models", "conda", "logs"):
        if (home / name).is_dir():
            size = sum(dict(folder_files(home / name)).values())
            parts.append(f"{name} {format_size(size)}")
    text = f"{format_size(free)} free" + (f"; {', '.join(parts)}" if parts else "")
    if free < _ROOM:
        hint = "launcher envs prune --older-than 30d, launcher models prune --older-than 30d"
        return Finding("disk", WARNING, text, purpose, hint)
    return Finding("disk", OK, text, purpose)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    limit = _memory_limit()
    text = f"{format_size(memory.available)} of {format_size(memory.total)} available"
    text += f"; at most {format_size(limit)} by the control group" if limit is not None else ""
    most = min(memory.available, limit or memory.available)
    if most < _MEMORY:
        hint = "Give the machine or the container more, or serve with one worker."
        return Finding("memory", WARNING, text, "each worker holds the model", hint)
    return Finding("memory", OK, text, "each worker holds the model")


def _memory_limit() -> int | None:
    """Bytes that the control group of this process may have; None for no limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max), and version 1's file.
    """
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    folders = [root, root / "memory"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root / "memory" if "memory" in controllers.split(",") else root
        inside = base / path.lstrip("/")
        folders += [each for each in (inside, *inside.parents) if base in each.parents]
    limits = []
    for folder in folders:
        for name in ("memory.max", "memory.limit_in_bytes"):
            file = folder / name
            if file.is_file() and (text := file.read_text(encoding="ascii").strip()).isdigit():
                limits.append(int(text))
    # Version 1 has a number near 2**63 where there is no limit.
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def _cpus() -> Finding:
    usable, there = available_cpus(), os.cpu_count() or 1
    of_all = f" of {there}: by affinity or the control group's quota" if usable < there else ""
    return Finding("CPUs", OK, f"{usable}{of_all}", "--workers, and threads of libraries")


def _open_files() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    text = "no limit" if hard == resource.RLIM_INFINITY else f"{hard} at most"
    if hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS:
        hint = "Raise the hard limit: ulimit -Hn, LimitNOFILE= in a systemd unit."
        return Finding("open files", WARNING, text, "a connection is one", hint)
    return Finding("open files", OK, text, "a connection is one")


def _kernel() -> Sequence[Finding]:
    """What the launcher asks of the system; without some of it, it does with less."""
    name = f"{os.uname().sysname} {os.uname().release}"
    lacking = []
    if not sys.platform.startswith("linux"):
        lacking.append(
            ("death signals", "processes end by a pipe that closes, when the launcher is killed")
        )
    if not hasattr(os, "pidfd_open"):
        lacking.append(("pidfd", "`stop` asks again and again whether a server has ended"))
    if not Path("/proc/self/statm").is_file():
        lacking.append(("/proc", "a request's memory is not bounded, and limits are not seen"))
    found = [Finding("kernel", OK, name, "supervision of processes")]
    found += [
        Finding("kernel", WARNING, f"no {what}", f"without it: {instead}")
        for what, instead in lacking
    ]
    # Whoever cannot bind a unix socket has no `stop` or `reload`: the probe says so by its error.
    with (
        tempfile.TemporaryDirectory(prefix="launcher-") as folder,
        socket.socket(socket.AF_UNIX) as bound,
    ):
        bound.bind(f"{folder}/s")
    return found


def _conda() -> Finding:
    from envs.managers.conda.rattler import rattler_folder

    try:
        rattler_folder()
    except EnvError as error:
        return Finding("conda", MISSING, "no py-rattler", "--env-manager conda", error.hint)
    text = f"py-rattler {metadata.version('py-rattler')}"
    return Finding("conda", OK, text, "--env-manager conda")


def _r() -> Finding:
    from launcher.engines.r_language import find_rscript, inspect

    purpose = "models of R (crate)"
    try:
        r = inspect(find_rscript(), is_alone=False, variables=clean_environ())
    except LauncherError as error:
        return Finding("R", MISSING, error.message.rstrip("."), purpose, error.hint)
    return Finding(
        "R", OK, f"{r.version} ({r.rscript}), jsonlite {r.packages['jsonlite']}", purpose
    )


def _builders() -> Finding:
    found = {name: path for name in BUILDERS if (path := shutil.which(name))}
    silent = [name for name in found if name == "docker" and not docker_answers(found[name])]
    working = [name for name in found if name not in silent]
    text = ", ".join([*working, *(f"{name} (its daemon does not answer)" for name in silent)])
    if not working:
        hint = "Install docker, podman or buildah, or use launcher generate-dockerfile."
        return Finding("image builder", MISSING, text or "none on PATH", "build-docker", hint)
    return Finding("image builder", OK, text, "build-docker")


def _extras() -> Finding:
    from packaging.requirements import Requirement

    distribution = metadata.metadata("mlmodel-launcher")
    names = [each for each in distribution.get_all("Provides-Extra") or () if each]
    lines = [Requirement(line) for line in metadata.requires("mlmodel-launcher") or ()]
    there: list[str] = []
    lacking: list[str] = []
    for name in (each for each in names if each not in _NOT_FOR_USERS):
        wanted = [
            line.name
            for line in lines
            if line.marker is not None and line.marker.evaluate({"extra": name})
            and not line.marker.evaluate({"extra": ""})
        ]  # fmt: skip
        (there if all(map(_is_installed, wanted)) else lacking).append(name)
    text = f"{', '.join(there) or 'none'}" + (f"; not: {', '.join(lacking)}" if lacking else "")
    hint = how_to_install(lacking[0]) if lacking else None
    return Finding("extras", OK, text, "stores of objects, images and more", hint)


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
