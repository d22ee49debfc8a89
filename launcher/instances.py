"""The launchers that serve on this machine, as ``launcher ps`` and its kin find them.

Each has a folder ``run/PID`` below the launcher home with an ``instance.json``.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.home import launcher_home
from launcher.control import ask
from launcher.errors import UsageError

if TYPE_CHECKING:
    import psutil

INSTANCE_FILE = "instance.json"
_STATUS_TIMEOUT = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Instance:
    """A launcher that serves. ``created`` is its process's creation time, seconds since 1970."""

    pid: int
    created: float
    name: str
    url: str
    model_uri: str
    model: str
    environment: str
    manager: str
    log: str
    control: str

    @property
    def control_path(self) -> Path:
        """Its control socket."""
        return Path(self.control)

    def write(self, folder: Path) -> None:
        """Make it known."""
        from launcher.server_config import write_json

        write_json(folder / INSTANCE_FILE, asdict(self))

    def process(self) -> psutil.Process | None:
        """The running process; None where it has ended (and its id may be another's)."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > 1:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def wait(self) -> None:
        """Wait for its end, which is before somebody has reaped it."""
        process = self.process()
        if process is None:
            return
        if not hasattr(os, "pidfd_open"):  # not Linux
            process.wait()
            return
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)


def running_instances() -> list[Instance]:
    """Those that run, by name; what is left of others is removed."""
    found = []
    for path in (launcher_home() / "run").glob(f"*/{INSTANCE_FILE}"):
        try:
            instance = Instance(**json.loads(path.read_text()))
        except FileNotFoundError:
            continue  # it has just ended
        if instance.process() is None:
            shutil.rmtree(path.parent, ignore_errors=True)
        else:
            found.append(instance)
    return sorted(found, key=lambda instance: instance.name)


def find_instance(name: str) -> Instance:
    """The running instance with that name or process id.

    :raises UsageError: there is none.
    """
    running = running_instances()
    for instance in running:
        if name in (instance.name, str(instance.pid)):
            return instance
    names = ", ".join(instance.name for instance in running) or "none"
    raise UsageError(f"Nothing named {name!r} is being served.", f"Running now: {names}.")


def choose_name(wanted: str | None, fallback: str) -> str:
    """The name of a new instance.

    :param wanted: the name that was asked for; None takes ``fallback``, with a number if needed.
    :raises UsageError: it is taken, or cannot be a name.
    """
    taken = {instance.name for instance in running_instances()}
    if wanted is not None:
        if not _NAME.fullmatch(wanted):
            raise UsageError(
                f"{wanted!r} cannot be a name.", "Use letters, digits, dots, dashes, underscores."
            )
        if wanted in taken:
            raise UsageError(
                f"{wanted!r} is being served already.",
                f"Choose another --name, or stop it: launcher stop {wanted}",
            )
        return wanted
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", fallback).strip("-._")[:50] or "model"
    number = 1
    name = base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def describe_instance(instance: Instance) -> dict[str, Any]:
    """What ``launcher ps`` shows of it; figures that it does not give are None.

    ``memory`` is the resident memory of all its processes in bytes (pages that several share
    count once where the system tells: PSS), ``uptime`` in seconds.
    """
    import time

    try:
        status = ask(instance.control_path, {"command": "status"}, _STATUS_TIMEOUT) or {}
    except OSError:
        status = {"state": "not answering"}
    return {
        "name": instance.name,
        "url": instance.url,
        "pid": instance.pid,
        "model": instance.model,
        "model_uri": instance.model_uri,
        "environment": instance.environment,
        "environment_manager": instance.manager,
        "uptime": time.time() - instance.created,
        "requests": None,
        "workers": None,
        "restarts": None,
        "reloads": None,
        "memory": _memory(instance),
        "log": instance.log,
        **status,
    }


def _memory(instance: Instance) -> int | None:
    import psutil

    process = instance.process()
    if process is None:
        return None
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            full = each.memory_full_info()
            total += getattr(full, "pss", full.rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total
