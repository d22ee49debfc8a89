"""MLflow's switch for files that can run code when they are read."""

from __future__ import annotations

import os
from pathlib import Path

# Since MLflow 3.0; true unless it is set.
ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


class PickleRefused(Exception):
    """The model's file can run code when it is read, and MLflow's switch forbids that."""


def pickles_allowed() -> bool:
    """Whether files may be read that can run code when they are."""
    return os.environ.get(ALLOW_PICKLE, "true").lower() in ("true", "1")


def check_allowed(path: Path) -> None:
    """Check that the file at `path`, which can run code, may be read.

    :raises PickleRefused: it may not.
    """
    if not pickles_allowed():
        raise PickleRefused(
            "Reading {} can run code of the model, and {} forbids that.".format(
                path.name, ALLOW_PICKLE
            )
        )
