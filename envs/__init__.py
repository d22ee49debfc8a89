"""Environments as values: described by an EnvSpec, built once, found again by key."""

from envs.errors import EnvError
from envs.managers.manager import Description
from envs.preparing import describe, environ, prepare
from envs.spec import EnvSpec
from envs.store.manifest import Environment, Mismatch
from envs.store.store import EnvStore

__all__ = [
    "Description",
    "EnvError",
    "EnvSpec",
    "EnvStore",
    "Environment",
    "Mismatch",
    "describe",
    "environ",
    "prepare",
]
