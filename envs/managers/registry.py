"""The environment managers by name: what ``--env-manager`` may be. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from envs.errors import EnvError

if TYPE_CHECKING:
    from envs.managers.manager import Manager


def _virtualenv() -> Manager:
    from envs.managers.virtualenv.manager import VirtualenvManager

    return VirtualenvManager()


def _conda() -> Manager:
    from envs.managers.conda.manager import CondaManager

    return CondaManager()


def _local() -> Manager:
    from envs.managers.local import LocalManager

    return LocalManager()


_managers: dict[str, Callable[[], Manager]] = {
    "virtualenv": _virtualenv,
    "conda": _conda,
    "local": _local,
}
_aliases = {"uv": "virtualenv"}


def register(name: str, make: Callable[[], Manager], *aliases: str) -> None:
    """Add a manager, under its name and other names for it; ``make`` may import what it needs."""
    _managers[name] = make
    _aliases.update(dict.fromkeys(aliases, name))


def choices() -> tuple[str, ...]:
    """Return the names that users may give, aliases right after what they stand for."""
    return tuple(
        choice
        for name in _managers
        for choice in (name, *(alias for alias, of in _aliases.items() if of == name))
    )


def canonical_name(name: str) -> str:
    """Return the name of a manager for one of its names or aliases.

    :raises EnvError: there is no manager of that name.
    """
    found = _aliases.get(name, name)
    if found not in _managers:
        raise EnvError(
            f"There is no environment manager {name!r}.", hint=f"Use one of {', '.join(choices())}."
        )
    return found


def manager_of(name: str) -> Manager:
    """Return the manager of a name or alias; its module is imported here.

    :raises EnvError: there is no manager of that name.
    """
    return _managers[canonical_name(name)]()


def all_managers() -> list[Manager]:
    """Return every manager, each imported."""
    return [make() for make in _managers.values()]
