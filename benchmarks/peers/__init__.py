"""The servers that are measured, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# All run the same interpreter.
PYTHON = "3.11"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Setup:
    """What a peer's command is made of.

    :param python: the interpreter of the peer's environment.
    :param model: a folder with a model that this environment can load.
    :param folder: a folder for the peer's own files.
    :param scratch: one with a short path that is removed when the peer has ended.
    :param free_port: gives another unused port, for peers that need several.
    """

    python: Path
    model: Path
    folder: Path
    host: str
    port: int
    workers: int
    free_port: Callable[[], int]
    scratch: Path


@dataclass(frozen=True)
class Peer:
    """One server, or one way to run it.

    :param requirements: what its environment holds; empty for the launcher, which builds its own.
    :param exclude_newer: the day as of which they are resolved (YYYY-MM-DD).
    :param command: the process to start.
    :param environ: variables for that process.
    :param ready_path: what answers 200 once the model is loaded.
    :param needs_path: whether its environment's scripts have to be on PATH.
    :param is_default: whether it is measured unless others are named.
    :param own_model: whether the model has to be logged anew by this environment's releases.
    """

    name: str
    title: str
    command: Callable[[Setup], list[str]]
    requirements: tuple[str, ...] = ()
    exclude_newer: str | None = None
    environment: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    ready_path: str = "/ping"
    own_model: bool = False
    needs_path: bool = False
    is_default: bool = True

    @property
    def environment_name(self) -> str:
        """Peers that share an environment name the same."""
        return self.environment or self.name
