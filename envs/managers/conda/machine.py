"""What conda packages are chosen for: this machine, as conda's virtual packages describe it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.building.context import Context
from envs.disk.files import read_json, write_json
from envs.managers.conda.rattler import call_rattler
from envs.pip.platforms import GLIBC, MACOS, Platform


@dataclass(frozen=True)
class Machine:
    """What packages are chosen for.

    :param subdir: "linux-64".
    :param virtual_packages: name, version and build of what the machine itself has.
    """

    subdir: str
    virtual_packages: tuple[tuple[str, str, str], ...]

    def canonical(self) -> dict[str, Any]:
        """Return what goes into a key: the kernel's version is left out, it rarely decides."""
        matter = [row for row in self.virtual_packages if row[0] not in ("__linux", "__unix")]
        return {"subdir": self.subdir, "virtual_packages": [list(row) for row in matter]}


def machine_of(platform: Platform) -> Machine:
    """Return a platform as conda's virtual packages describe it, without a look at this machine.

    They are of the oldest system that the platform stands for, and without a graphics driver;
    conda's own variables (``CONDA_OVERRIDE_GLIBC``, ``_OSX``, ``_CUDA``) say otherwise. The
    packages and their names: https://conda.org/learn/ceps/cep-0030
    """
    if platform.system == "linux":
        versions = {"__glibc": ".".join(map(str, GLIBC)), "__linux": "4.18", "__unix": "0"}
    else:
        versions = {"__osx": ".".join(map(str, MACOS)), "__unix": "0"}
    for name in ("__glibc", "__osx", "__cuda"):
        given = os.environ.get(f"CONDA_OVERRIDE_{name.strip('_').upper()}")
        if given and (name in versions or (name, platform.system) == ("__cuda", "linux")):
            versions[name] = given
    rows = [(name, version, "0") for name, version in versions.items()]
    builds = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "m1"}
    rows.append(("__archspec", "1", builds[platform.machine]))
    return Machine(platform.name, tuple(sorted(rows)))


def this_machine(context: Context) -> Machine:
    """Return what packages are chosen for here, found out once for a kernel and its drivers."""
    driver = Path("/proc/driver/nvidia/version")
    libc = "CS_GNU_LIBC_VERSION"
    state = {
        "system": list(os.uname()),
        "libc": os.confstr(libc) if libc in os.confstr_names else None,
        "driver": driver.read_text(encoding="utf-8") if driver.is_file() else None,
        "overrides": {k: v for k, v in os.environ.items() if k.startswith("CONDA_OVERRIDE_")},
    }
    path = context.home / "conda-machine-1.json"
    remembered = read_json(path)
    if remembered.get("state") != state:
        found = call_rattler({"action": "detect"}, context)
        remembered = {"state": state, **found}
        write_json(path, remembered, optional=True)
    rows = tuple((str(n), str(v), str(b)) for n, v, b in remembered["virtual_packages"])
    return Machine(remembered["subdir"], rows)
