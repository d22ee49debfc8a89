"""What a server serves: a model in its environment, made anew for each reload."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.disk.files import write_json
from launcher.engines.scoring_server import scoring_server_command
from launcher.engines.server_config import server_config
from launcher.supervision.process import Command

if TYPE_CHECKING:
    from envs import Environment
    from launcher.artifacts import ModelSource
    from launcher.model.mlmodel import Model


def describe_environment(environment: Environment) -> dict[str, Any]:
    """The environment as the scoring server's configuration and /info have it."""
    return {
        "manager": environment.env_manager,
        "key": environment.key,
        "python": environment.python_version,
    }


class ModelDeployment:
    """A model in its environment, which stays in use until ``close``.

    :param source: where the model came from.
    :param uri: the model URI as given.
    :param settings: the server's settings (``server`` of its configuration).
    :param config: where the server's configuration is written.
    :param warn: called with one line for each thing of the environment that failed.
    """

    def __init__(
        self,
        source: ModelSource,
        model: Model,
        environment: Environment,
        *,
        uri: str,
        settings: Mapping[str, Any],
        config: Path,
        warn: Callable[[str], None],
    ) -> None:
        self.source = source
        self.model = model
        self.environment = environment
        self._uri = uri
        self._settings = settings
        self._config = config
        self._held = contextlib.ExitStack()
        self._held.enter_context(environment.in_use())
        self.command: Command = scoring_server_command(environment, config, warn=warn)

    def write_config(self, *, restarts: int = 0, reloads: int = 0) -> None:
        """Write the configuration, with what /metrics reports of the launcher."""
        write_json(
            self._config,
            server_config(
                self.model,
                uri=self._uri,
                environment=describe_environment(self.environment),
                server={**self._settings, "restarts": restarts, "reloads": reloads},
            ),
        )

    def close(self) -> None:
        """Let go of the environment."""
        self._held.close()
