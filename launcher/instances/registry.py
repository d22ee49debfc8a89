"""The launchers that serve on this machine, as ``launcher ps`` and its kin find them.

Each has a run folder with an ``instance.json``, and the lock of its name.
"""

from __future__ import annotations

import json
import os
import re
import select
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs.disk.locks import holder_of, remove_lock_file, sign, try_exclusive
from launcher.errors import UsageError
from launcher.instances.control import ask
from launcher.instances.run_folders import all_run_folders, remove_if_left

if TYPE_CHECKING:
    import psutil

INSTANCE_FILE = "instance.json"
_STATUS_TIMEOUT = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Instance(NamedTuple):
    """A launcher that serves. ``created`` is its process's creation time, seconds since 1970."""

    pid: int
    created: float
    name: str
    url: str
    model_uri: str
    model: str
    environment: str
    log: str
    control: str
    env_manager: str | None = None
    as_of: str | None = None
    # What clients of this machine need to get in.
    token_file: str | None = None
    tls_cert: str | None = None

    @property
    def control_path(self) -> Path:
        """Its control socket."""
        return Path(self.control)

    def write(self, folder: Path) -> None:
        """Make it known."""
        from envs.disk.files import write_json

        write_json(folder / INSTANCE_FILE, self._asdict())

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


def _read_instance(path: Path) -> Instance | None:
    """The instance that a file describes; None where it is damaged, or not there (any more).

    It has just begun or ended then, or it is no server's. Fields of another version are left out.
    """
    try:
        document = json.loads(path.read_bytes())
        known = document.keys() & set(Instance._fields)
        instance = Instance(**{name: document[name] for name in known})
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return None
    numbers = isinstance(instance.pid, int) and isinstance(instance.created, float)
    texts = (instance.name, instance.control, instance.log)
    return instance if numbers and all(isinstance(text, str) for text in texts) else None


def running_instances() -> list[Instance]:
    """Those that run, by name; what is left of others is removed."""
    found = []
    for folder in all_run_folders().glob("[!.]*"):
        instance = _read_instance(folder / INSTANCE_FILE)
        if instance is None or instance.process() is None:
            remove_if_left(folder)
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


def default_name(name: str) -> str:
    """The name of the first instance that serves the model ``name`` and is given none."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:50] or "model"


def check_name(name: str) -> None:
    """See that it can be an instance's name.

    :raises UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name.", "Use letters, digits, dots, dashes, underscores."
        )


@contextmanager
def claimed_name(wanted: str | None, default: str = "") -> Iterator[str]:
    """A name that no other instance can have within the block.

    :param wanted: the name that was asked for; None takes ``default``, with a number if needed.
    :raises UsageError: it is taken, or cannot be a name.
    """
    if wanted is not None:
        check_name(wanted)
        candidates: Iterable[str] = (wanted,)
    else:
        candidates = chain((default,), (f"{default}-{number}" for number in count(2)))
    for name in candidates:
        lock = all_run_folders() / ".names" / f"{name}.lock"
        with try_exclusive(lock) as is_ours:
            if is_ours:
                sign(lock)
                try:
                    yield name
                finally:
                    remove_lock_file(lock)
                return
    raise UsageError(
        f"{wanted!r} is being served already, by process {holder_of(lock)}.",
        f"Choose another --name, or stop it: launcher stop {wanted}",
    )


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
        "env_manager": instance.env_manager,
        "as_of": instance.as_of,
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
