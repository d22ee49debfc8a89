"""What is in a site-packages folder, what is put there, and whether it is what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envs.building.context import Context
from envs.disk.files import DISK_FULL, disk_full
from envs.errors import EnvError
from envs.spec import normalize_name
from envs.store.manifest import Mismatch


def installed_packages(site_packages: Path) -> dict[str, str]:
    """Return names (normalised) and versions of the distributions in a folder."""
    found = {}
    for path in sorted(site_packages.glob("*.dist-info")):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        found[normalize_name(name)] = version
    return found


def copy_packages(folders: tuple[Path, ...], site_packages: Path, context: Context) -> None:
    """Copy folders of pure Python packages into site-packages.

    :raises EnvError: one could not be copied.
    """
    import shutil

    for folder in folders:
        context.report(f"copying {folder.name} into site-packages")
        try:
            shutil.copytree(
                folder, site_packages / folder.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        except OSError as error:
            if error.errno in DISK_FULL:
                raise disk_full(context.home) from error
            raise EnvError(
                f"{folder.name} could not be copied into the environment: {error}."
            ) from error


def mismatch(
    line: str, packages: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Mismatch | None:
    """Return how a requirement line is not fulfilled by packages (name: version), None if it is.

    :param environment: the values of environment markers (None: this Python's).
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line.split(" --")[0])
    except InvalidRequirement:
        return None  # a path or a URL without a name
    if requirement.marker is not None and not requirement.marker.evaluate(
        dict(environment) if environment is not None else None
    ):
        return None
    installed = packages.get(normalize_name(requirement.name))
    if installed is None or not requirement.specifier.contains(installed, prereleases=True):
        return Mismatch(str(requirement).split(" @ ")[0], installed)
    return None


def is_for_elsewhere(line: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a requirement line has a marker that does not hold in an environment."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        marker = Requirement(line.split(" --")[0]).marker
    except InvalidRequirement:
        return False  # a path or a URL without a name
    return marker is not None and not marker.evaluate(dict(environment))
