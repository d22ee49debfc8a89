"""What a served model is given: what to serve, within which limits, and whom to tell."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from launcher.supervision.process import Command
from scoring_server.events import Event


class Limits(NamedTuple):
    """Times in seconds; ``restarts`` within one ``window``.

    ``liveness`` without an answer, asked ``probe_every`` so many at most, is a server's end.
    """

    ready: float | None = None
    graceful: float = 30.0
    liveness: float | None = None
    probe_every: float | None = None
    restarts: int = 5
    window: float = 60.0


class Deployment(Protocol):
    """What is served: a model in its environment, as a command."""

    @property
    def command(self) -> Command:
        """The server's command."""

    def configure(self, *, restarts: int, reloads: int) -> None:
        """Write the files that the command reads.

        :raises OSError: there are none, and they cannot be written.
        """

    def close(self) -> None:
        """Let go of model and environment: nothing runs in it any more."""


class Observer:
    """Is told what happens; each method may be overridden."""

    def ready(self, deployment: Deployment) -> None:
        """A server of ``deployment`` has become ready, the first or a later one."""

    def event(self, event: Event) -> None:
        """The server has said something on its status pipe."""

    def stopping(self) -> None:
        """The stop has begun."""

    def reloading(self) -> None:
        """A reload has begun."""

    def reloaded(self, failure: str | None) -> None:
        """A reload has ended; ``failure`` says why the old server stays."""

    def alive(self) -> None:
        """The server has answered a probe."""
