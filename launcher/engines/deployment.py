"""What a server serves: a model in its environment, made anew for each reload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.artifacts import release_model
from launcher.engines.engine import Assignment, Engine
from launcher.supervision.process import Command

if TYPE_CHECKING:
    from envs import Environment
    from launcher.artifacts import ModelSource


def describe_environment(environment: Environment) -> dict[str, Any]:
    """The environment as the scoring server's configuration and /info have it."""
    return {
        "env_manager": environment.env_manager,
        "as_of": environment.as_of,
        "key": environment.key,
        "python": environment.python_version,
        "r": None,
    }


def command_in(environment: Environment, command: Command, warn: Callable[[str], None]) -> Command:
    """The command with the process environment of ``environment``.

    :param warn: called with one line for each thing of the environment that failed.
    """
    from envs import environ

    return command._replace(environ=environ(environment, warn=warn))


class ModelDeployment:
    """A model in its environment; both stay in use until ``close``.

    :param source: where the model came from.
    :param folder: for the engine's files.
    :param warn: called with one line for each thing of the environment that failed.
    """

    def __init__(
        self,
        source: ModelSource,
        assignment: Assignment,
        environment: Environment,
        engine: Engine,
        *,
        folder: Path,
        warn: Callable[[str], None],
    ) -> None:
        self.model = assignment.model
        self.identity = assignment.identity
        self.has_page = "page" in engine.options and assignment.options.page
        self.environment = environment
        self._assignment = assignment
        self._engine = engine
        self._folder = folder
        self._warn = warn
        self._is_configured = False
        self._held = ExitStack()
        self._held.callback(release_model, source)
        self._held.enter_context(environment.in_use())
        command = engine.command(environment.python, folder, assignment)
        self.command = command_in(environment, command, warn)

    def configure(self, *, restarts: int, reloads: int) -> None:
        """Have the engine write its files, with what /metrics reports of the launcher.

        :raises OSError: it cannot, and has not done so before.
        """
        try:
            self._engine.configure(
                self._assignment, self._folder, restarts=restarts, reloads=reloads
            )
        except OSError as error:
            if not self._is_configured:
                raise
            self._warn(f"the configuration cannot be written, the last one is used: {error}")
        self._is_configured = True

    def close(self) -> None:
        """Let go of model and environment."""
        self._held.close()
