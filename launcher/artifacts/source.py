"""What a model URI leads to, and the one error for a URI that leads nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from launcher.errors import ModelError
from launcher.quantities import format_size

Report = Callable[[str], None]
"""Takes one line that tells a person what is going on."""


def silent(_line: str) -> None:
    """Report to nobody."""


class ModelSource(NamedTuple):
    """A model on this machine's disk, and where it came from."""

    uri: str
    """As it was given, less any password in it."""
    path: Path
    """Absolute path of a folder that holds a file `MLmodel`."""
    name: str | None = None
    """Name in the model registry, where the URI went through one."""
    version: str | None = None
    """Version in the model registry, where the URI went through one."""
    immutable: bool = False
    """Whether the same URI always leads to the same bytes."""
    revision: str = ""
    """Differs between two calls when what is behind the URI has changed between them."""


class ModelURIError(ModelError):
    """A model URI that cannot be resolved: one line what is wrong, one what to do."""

    hint: str

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)


class NotAModel(ModelURIError):
    """There may be something, but it has no file MLmodel."""


def refuse_size(size: int, max_model_size: int | None) -> None:
    """Refuse a model of more bytes than are allowed.

    :raises ModelURIError: `size` is more.
    """
    if max_model_size is not None and size > max_model_size:
        raise ModelURIError(
            f"The model is larger than the allowed {format_size(max_model_size)}.",
            "Raise --max-model-size if you trust it.",
        )
