"""MLflow's two switches for models that run code of their own when they are loaded."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Mapping

logger = logging.getLogger(__name__)

# Since MLflow 3.18; true unless it is set. A model of python_function names the module that loads
# it, and a crate is a function: false refuses them all, whatever MLflow logged them.
ALLOW_CODE = "MLFLOW_ALLOW_MODEL_CODE_EXECUTION"
# Since MLflow 3.0, deprecated by 3.18: false refuses what is pickled, and no other model.
ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


class CodeRefused(Exception):
    """What is loaded runs code of the model, and one of MLflow's switches forbids that.

    :param hint: what to set.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def check_code_allowed(environ: Mapping[str, str]) -> None:
    """Check that models may be loaded at all.

    :param environ: the variables of the process that loads the model.
    :raises CodeRefused: they may not, or the variable is neither true nor false.
    """
    if not _is_allowed(ALLOW_CODE, environ):
        raise CodeRefused(
            "{} forbids models that run code of their own: each names the code that loads "
            "it.".format(ALLOW_CODE),
            "Set {}=true if you trust the model.".format(ALLOW_CODE),
        )


def pickles_allowed() -> bool:
    """Whether files may be read that can run code when they are.

    :raises CodeRefused: the variable is neither true nor false.
    """
    return _is_allowed(ALLOW_PICKLE, os.environ)


def check_pickle_allowed(path: Path) -> None:
    """Check that the file at `path`, which can run code, may be read.

    :raises CodeRefused: it may not.
    """
    if not pickles_allowed():
        raise CodeRefused(
            "Reading {} can run code of the model, and {} forbids that.".format(
                path.name, ALLOW_PICKLE
            ),
            "Set {}=true if you trust the model.".format(ALLOW_PICKLE),
        )


def warn_of_deprecated() -> None:
    """Say in the log that MLflow will not read the older variable for ever."""
    if ALLOW_PICKLE in os.environ:
        logger.warning(
            "%s is deprecated by MLflow 3.18 for %s, which refuses not only what is pickled, but "
            "every model.",
            ALLOW_PICKLE,
            ALLOW_CODE,
        )


def _is_allowed(name: str, environ: Mapping[str, str]) -> bool:
    value = environ.get(name, "true").lower()
    if value not in ("true", "false", "1", "0"):
        raise CodeRefused(
            "{} is {!r}, which is neither true nor false.".format(name, environ[name]),
            "Set it to true if you trust the model, else to false.",
        )
    return value in ("true", "1")
