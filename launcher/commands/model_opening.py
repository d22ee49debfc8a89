"""URI -> Model, as every command does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.artifacts import ModelSource, resolve_model
from launcher.model.mlmodel import Model, read_model

if TYPE_CHECKING:
    from launcher.console import Console


@dataclass(frozen=True)
class ModelRequest:
    """Which model is wanted; ``max_size`` in bytes after unpacking, None for no limit.

    With ``offline`` only what has been fetched before is found.
    """

    uri: str
    max_size: int | None = None
    offline: bool = False

    def resolve(self, console: Console) -> ModelSource:
        """Fetch the model, if it is not on this machine's disk.

        :raises launcher.artifacts.ModelURIError: the URI leads to no model.
        """
        return resolve_model(
            self.uri, report=console.step, offline=self.offline, max_model_size=self.max_size
        )

    def open(self, console: Console) -> Model:
        """Fetch and read the model.

        :raises launcher.artifacts.ModelURIError: the URI leads to no model.
        :raises ModelError: what it leads to cannot be read.
        """
        return read_model(self.resolve(console).path)
