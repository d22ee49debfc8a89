"""The Python that runs the launcher, as an environment: nothing is built, it is compared."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

from envs.building.context import Context
from envs.managers.manager import Description, Manager
from envs.pip.requirements_file import flatten
from envs.pip.site_packages import mismatch
from envs.spec import EnvSpec, key_of, normalize_name
from envs.store.manifest import Environment
from envs.store.store import EnvStore


class LocalManager(Manager):
    """The running Python, whatever the spec asks for; what it lacks is told."""

    name = "local"

    def prepare(self, spec: EnvSpec, store: EnvStore, context: Context) -> Environment:
        """Return the running Python as an environment.

        Its ``mismatches`` are the requirements (of model and server, not the build requirements)
        that are missing here or present at another version; lines without a name (bare paths,
        URLs from version control) cannot be compared and are left out.
        """
        packages = {
            normalize_name(name): distribution.version
            for distribution in metadata.distributions()
            if (name := distribution.metadata["Name"])
        }
        wanted = flatten([*spec.requirements, *spec.server_requirements], spec.base_dir)
        inputs = {
            "manager": self.name,
            "python": [sys.executable, platform.python_version(), sys.implementation.name],
            "packages": sorted(packages.items()),
        }
        return Environment(
            key=key_of(inputs),
            env_manager=self.name,
            path=Path(sys.prefix),
            python=Path(sys.executable),
            python_version=platform.python_version(),
            packages=packages,
            mismatches=tuple(m for line in wanted.lines if (m := mismatch(line, packages))),
        )

    def describe(self, spec: EnvSpec, store: EnvStore, context: Context) -> Description:
        environment = self.prepare(spec, store, context)
        lines = flatten([*spec.requirements, *spec.server_requirements], spec.base_dir).canonical
        return Description(
            environment.key,
            self.name,
            environment.path,
            lines,
            is_built=True,
            inputs={},  # whatever the spec is, it is this one
            packages=environment.packages,
        )
