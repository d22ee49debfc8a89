"""The door for serving engines: what the launcher has to know of one.

A new engine is a class with these members, entered in `registry`. It may be our scoring server, or
one that a package in the model's environment brings: what it needs there is resolved together with
the model's requirements, and its process is supervised like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from launcher.errors import UsageError
from launcher.model.mlmodel import Model
from launcher.supervision.process import Command


class ServerOptions(NamedTuple):
    """How a server is to serve. Times in seconds, sizes in bytes; None stands for no limit.

    ``max_batch_rows`` may be "auto"; ``batch_wait`` is the time that a request waits for others
    although the model is idle; ``batch_tolerance`` the error of a number that "auto" may bring;
    ``preload`` None: once, unless the model does not survive a fork. Paths are absolute. ``uds``:
    the unix socket in the place of host and port; ``root_path`` has no slash at its end.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    timeout: float | None = 60.0
    workers: int = 1
    threads: int = 1
    max_batch_rows: int | str = 0
    batch_wait: float = 0.0
    batch_tolerance: float = 0.0
    direct_lane: str = "auto"
    loader: str = "auto"
    preload: bool | None = None
    max_requests: int = 0
    max_requests_jitter: int = 0
    backlog: int = 512
    graceful_timeout: float = 30.0
    max_body: int = 100 * 1024 * 1024
    max_held: int | None = None
    worker_memory: int | None = None
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origin: tuple[str, ...] = ()
    root_path: str = ""
    uds: Path | None = None
    log_format: str = "text"
    access_log: bool = False
    slow_request: float | None = None
    debug: bool = False
    page: bool = True


class Identity(NamedTuple):
    """What a model is called where a protocol's paths have its name.

    :param names: its own first, then others that are accepted; none: that of its folder.
    :param version: its version in the registry.
    :param aliases: the registry's aliases of that version by which it was asked for.
    """

    names: tuple[str, ...] = ()
    version: str | None = None
    aliases: tuple[str, ...] = ()

    def name_of(self, model: Model) -> str:
        """What people know the model as: its name in the registry, else its own, else its folder's.

        Never that of a folder in the cache of downloads, which says nothing.
        """
        if self.names and (self.version is not None or not model.name):
            return self.names[0]
        return model.name or model.path.name

    def title_of(self, model: Model) -> str:
        """Its name, and of a registered one its version and alias: ``iris 3 @champion``."""
        aliases = (f"@{alias}" for alias in self.aliases)
        return " ".join(each for each in (self.name_of(model), self.version, *aliases) if each)


class Assignment(NamedTuple):
    """What a server is to serve, and how.

    :param uri: the model's URI as given.
    :param environment: the environment as /info has it: ``env_manager``, ``as_of``, ``key`` and
        ``python``, for a crate also ``r``.
    :param traces: the scoring server's settings of the same name; None for no traces.
    """

    model: Model
    uri: str
    environment: Mapping[str, Any]
    options: ServerOptions
    identity: Identity = Identity()
    traces: Mapping[str, Any] | None = None


class Engine(Protocol):
    """A program that serves models.

    ``name``: as messages have it. ``requirements``: requirement lines that join the model's own;
    of them ``younger`` names packages that may be younger than the model, and up to which day
    (NAME=YYYY-MM-DD). ``pythons``: those that it runs on, as a version specifier; ``since``: the
    day (UTC) from which all of them could be had. ``instead`` says what to do where a model
    excludes them, and is "" for those that fit anywhere. ``packages``: folders of Python packages
    that an environment gets in order to serve without a launcher. ``options``: the names of the
    ServerOptions that it has. ``side_by_side``: another server can start beside the first, for a
    reload. ``has_traces``: it tells of requests for traces.
    """

    name: str
    requirements: tuple[str, ...]
    younger: tuple[str, ...]
    pythons: str = ""
    since: datetime | None = None
    instead: str = ""
    packages: tuple[Path, ...]
    options: frozenset[str]
    side_by_side: bool = False
    has_traces: bool = False

    def check(self, model: Model, options: ServerOptions) -> None:
        """See that it can serve the model in this way; called before anything is built.

        :raises LauncherError: it cannot; the exit code is 2.
        """

    def configure(
        self, assignment: Assignment, folder: Path, *, restarts: int, reloads: int
    ) -> None:
        """Write the files that its command reads, before each start.

        :param folder: for these files alone; made if needed.
        :param restarts: how often the launcher has restarted a server.
        :param reloads: how often it has reloaded the model.
        :raises OSError: they cannot be written.
        """

    def command(self, python: Path, folder: Path, assignment: Assignment) -> Command:
        """What is to be run; the process environment is not the engine's to set.

        How it gets its port, where it is asked whether it is ready, by which signal it drains and
        whether another one can serve beside it during a reload is said by the command's fields.

        :param python: the interpreter of the model's environment.
        :param folder: as ``configure`` has filled it.
        :param assignment: what is served, and how.
        """


def refuse_options(engine: Engine, options: ServerOptions) -> None:
    """See that an engine has all options that were given.

    :raises UsageError: it lacks one.
    """
    for name, default in ServerOptions._field_defaults.items():
        if getattr(options, name) != default and name not in engine.options:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"The engine {engine.name} has no {flag}.", "Leave it out.")
