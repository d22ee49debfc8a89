"""The Python that runs the launcher, as an environment: nothing is built, it is compared."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from envs.pip.requirements_file import flatten
from envs.spec import EnvSpec, key_of, normalize_name
from envs.store.manifest import Environment, Mismatch


def local_environment(spec: EnvSpec) -> Environment:
    """Return the running Python as an environment, with what it lacks of the spec.

    ``mismatches`` has the requirements (of model and server, not the build requirements) that
    are missing here or present at another version; lines without a name (bare paths, URLs from
    version control) cannot be compared and are left out.
    """
    packages = {
        normalize_name(name): distribution.version
        for distribution in metadata.distributions()
        if (name := distribution.metadata["Name"])
    }
    wanted = flatten([*spec.requirements, *spec.server_requirements], spec.base_dir)
    inputs = {
        "manager": "local",
        "python": [sys.executable, platform.python_version(), sys.implementation.name],
        "packages": sorted(packages.items()),
    }
    return Environment(
        key=key_of(inputs),
        manager="local",
        path=Path(sys.prefix),
        python=Path(sys.executable),
        python_version=platform.python_version(),
        packages=packages,
        mismatches=tuple(m for line in wanted.lines if (m := mismatch(line, packages))),
    )


def mismatch(
    line: str, packages: Mapping[str, str], environment: dict[str, str] | None = None
) -> Mismatch | None:
    """Return how a requirement line is not fulfilled by packages (name: version), None if it is.

    ``environment`` has the values of environment markers (None: this Python's).
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line.split(" --")[0])
    except InvalidRequirement:
        return None  # a path or a URL without a name
    if requirement.marker is not None and not requirement.marker.evaluate(environment):
        return None
    installed = packages.get(normalize_name(requirement.name))
    if installed is None or not requirement.specifier.contains(installed, prereleases=True):
        return Mismatch(str(requirement).split(" @ ")[0], installed)
    return None
