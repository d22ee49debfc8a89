"""Platforms by conda's names, as uv, environment markers and wheel tags have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envs.errors import EnvError

# The oldest systems that a lock for another machine is for: RHEL 8, Debian 10 and Ubuntu 18.10
# have this glibc; uv's own default is this macOS.
GLIBC = (2, 28)
MACOS = (13, 0)
# Names of manylinux tags from before they had glibc's version in them.
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


class Platform(NamedTuple):
    """A platform that packages are chosen for.

    :param name: conda's ("linux-64").
    :param system: ``sys.platform``.
    :param machine: the processor as ``platform.machine()`` has it there.
    :param uv: what ``uv --python-platform`` calls it.
    """

    name: str
    system: str
    machine: str
    uv: str

    @property
    def marker(self) -> str:
        """The environment marker that holds there and on no other of the platforms."""
        return f"sys_platform == '{self.system}' and platform_machine == '{self.machine}'"

    @property
    def floor(self) -> str:
        """The oldest system that it stands for, in words."""
        if self.system == "linux":
            return f"glibc {GLIBC[0]}.{GLIBC[1]}"
        return f"macOS {MACOS[0]}.{MACOS[1]}"

    def markers(self) -> dict[str, str]:
        """Return the values of environment markers that are of the platform, not of the Python."""
        system = "Linux" if self.system == "linux" else "Darwin"
        return {
            "os_name": "posix",
            "sys_platform": self.system,
            "platform_machine": self.machine,
            "platform_system": system,
            "platform_release": "",
            "platform_version": "",
        }

    def tags(self) -> Iterator[str]:
        """Yield the platform tags of wheels, the best first."""
        if self.system == "darwin":
            from packaging.tags import mac_platforms

            yield from mac_platforms(MACOS, self.machine)
            return
        oldest = 5 if self.machine == "x86_64" else 17
        for minor in range(GLIBC[1], oldest - 1, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
            if (2, minor) in _LEGACY:
                yield f"{_LEGACY[2, minor]}_{self.machine}"
        yield f"linux_{self.machine}"


PLATFORMS = {
    each.name: each
    for each in (
        Platform("linux-64", "linux", "x86_64", "x86_64-manylinux_2_28"),
        Platform("linux-aarch64", "linux", "aarch64", "aarch64-manylinux_2_28"),
        Platform("osx-64", "darwin", "x86_64", "x86_64-apple-darwin"),
        Platform("osx-arm64", "darwin", "arm64", "aarch64-apple-darwin"),
    )
}


def linux_platform(machine: str) -> Platform:
    """Return the platform of a processor under Linux.

    :raises EnvError: it is none of those that packages can be chosen for from elsewhere.
    """
    for platform in PLATFORMS.values():
        if (platform.system, platform.machine) == ("linux", machine):
            return platform
    raise EnvError(
        f"Packages cannot be chosen for linux/{machine} on another machine.",
        hint="Do it on such a machine.",
    )
