"""A conda channel of the tests' own: no public one can be relied on, and few packages will do.

Package and index formats: https://docs.conda.io/projects/conda-build/en/latest/resources/package-spec.html
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import zstandard

from envs import EnvSpec
from envs.building.context import Context
from envs.building.interpreters import find_interpreter

# Parts of a standard library that nothing here imports: a package a third of the size.
_LEFT_OUT = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3"}
_LEFT_OUT |= {"site-packages", "dist-packages", "pydoc_data", "EXTERNALLY-MANAGED"}


# In a process of its own, which ends without a shutdown: py-rattler can crash in that, and these
# tests are about what it takes to live with it. With "force" the files are seen as they are.
_INDEX = """
import asyncio, os, sys
from rattler.index import index_fs
shards = len(sys.argv) > 2
asyncio.run(index_fs(sys.argv[1], write_zst=shards, write_shards=shards, force=True))
os._exit(0)
"""


def subdir() -> str:
    """The channel subfolder of this machine."""
    machine = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
    return machine[platform.machine()]


@dataclass(frozen=True)
class Package:
    """One conda package: its metadata and its files (bytes, or text of a link's target)."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    executable: frozenset[str] = frozenset()
    noarch: str | None = "python"
    subdir: str = "noarch"
    built: str | None = None
    build: str = "0"

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    def index_json(self) -> dict[str, object]:
        index: dict[str, object] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": list(self.depends),
            "subdir": self.subdir,
            "arch": None if self.subdir == "noarch" else platform.machine(),
            "platform": None if self.subdir == "noarch" else "linux",
        }
        if self.noarch:
            index["noarch"] = self.noarch
        if self.built:
            day = datetime.fromisoformat(self.built).replace(tzinfo=timezone.utc)
            index["timestamp"] = int(day.timestamp() * 1000)
        return index

    def info(self) -> dict[str, bytes]:
        import hashlib

        paths = [
            {
                "_path": name,
                "path_type": "hardlink",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_in_bytes": len(content),
            }
            for name, content in self.files.items()
        ]
        paths += [{"_path": name, "path_type": "softlink"} for name in self.links]
        info = {
            "info/index.json": json.dumps(self.index_json()),
            "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
            "info/files": "\n".join([*self.files, *self.links]),
            "info/about.json": "{}",
        }
        if self.noarch == "python":
            info["info/link.json"] = json.dumps(
                {"noarch": {"type": "python"}, "package_metadata_version": 1}
            )
        return {name: text.encode() for name, text in info.items()}

    def write(self, channel: Path, *, old_format: bool = False) -> Path:
        """Write the package into a channel: ``.conda``, or ``.tar.bz2``."""
        folder = channel / self.subdir
        folder.mkdir(parents=True, exist_ok=True)
        content = self._tar(self.files, self.links)
        if old_format:
            import bz2

            path = folder / f"{self.file_name}.tar.bz2"
            path.write_bytes(bz2.compress(self._tar({**self.info(), **self.files}, self.links), 1))
            return path
        path = folder / f"{self.file_name}.conda"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            compress = zstandard.ZstdCompressor(level=1).compress
            archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            archive.writestr(f"pkg-{self.file_name}.tar.zst", compress(content))
            archive.writestr(f"info-{self.file_name}.tar.zst", compress(self._tar(self.info(), {})))
        return path

    def _tar(self, files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                member.mode = 0o755 if name in self.executable else 0o644
                tar.addfile(member, io.BytesIO(content))
            for name, target in links.items():
                member = tarfile.TarInfo(name)
                member.type = tarfile.SYMTYPE
                member.linkname = target
                tar.addfile(member)
        return buffer.getvalue()


def python_package(wanted: str | None = None, **changes: object) -> Package:
    """A ``python`` package made of an interpreter of this machine; EnvError without one."""
    interpreter = find_interpreter(wanted, Context(python_downloads=False))
    minor = interpreter.minor
    binary = Path(interpreter.path)
    root = binary.parents[1]
    library = root / "lib" / f"python{minor}"
    files = {f"bin/python{minor}": binary.read_bytes()}
    links = {"bin/python": f"python{minor}", "bin/python3": f"python{minor}"}
    for path in (root / "lib").glob(f"libpython{minor}*.so*"):
        if path.is_symlink():
            links[f"lib/{path.name}"] = os.readlink(path)  # noqa: PTH115 - the text of the link
        else:
            files[f"lib/{path.name}"] = path.read_bytes()
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        if Path(folder).parent == library and Path(folder).name.startswith("config-"):
            continue
        for name in names:
            path = Path(folder, name)
            if name not in _LEFT_OUT and path.is_file():
                files[str(path.relative_to(root))] = path.read_bytes()
    files = _without_debug_symbols(files)
    files[f"lib/python{minor}/site-packages/README.txt"] = b"packages go here\n"
    built = "2019-01-01"
    executable = frozenset({f"bin/python{minor}"})
    package = Package(
        "python", interpreter.version, (), files, links, executable, None, subdir(), built
    )
    return Package(**{**package.__dict__, **changes})


def _without_debug_symbols(files: dict[str, bytes]) -> dict[str, bytes]:
    """Make binaries smaller where the tool for it is there: every test copies them."""
    strip = shutil.which("strip")
    if strip is None:
        return files
    binaries = {name: content for name, content in files.items() if content[:4] == b"\x7fELF"}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, str(number)) for number, name in enumerate(binaries)}
        for name, path in paths.items():
            path.write_bytes(binaries[name])
        subprocess.run([strip, "-g", *paths.values()], check=True)
        return {**files, **{name: path.read_bytes() for name, path in paths.items()}}


def pip_package(python: Package) -> Package:
    """A ``pip`` package made of the wheel that every Python brings for ``ensurepip``."""
    wheel = next(
        content
        for name, content in python.files.items()
        if "ensurepip/_bundled/pip-" in name and name.endswith(".whl")
    )
    files = {}
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                files[f"site-packages/{name}"] = archive.read(name)
    (record,) = [name for name in files if name.endswith(".dist-info/METADATA")]
    version = record.split("/")[1].removesuffix(".dist-info").partition("-")[2]
    return Package("pip", version, ("python",), files, built="2019-01-01")


def library(
    name: str,
    version: str,
    *,
    depends: Iterable[str] = ("python",),
    built: str | None = "2019-01-01",
    requires: Iterable[str] = (),
    build: str = "0",
) -> Package:
    """A package with one Python module that tells its version."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    info = f"site-packages/{name}-{version}.dist-info"
    files = {
        f"site-packages/{name}.py": f"__version__ = {version!r}\nmaker = 'conda'\n".encode(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/RECORD": b"",
    }
    return Package(name, version, tuple(depends), files, built=built, build=build)


def data_package(name: str, files: Mapping[str, str]) -> Package:
    """A package of files that are no Python."""
    content = {path: text.encode() for path, text in files.items()}
    return Package(name, "1.0", (), content, noarch="generic", built="2019-01-01")


class Channel:
    """A channel in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "noarch").mkdir(parents=True)

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(self, *packages: Package, old_format: bool = False) -> None:
        for package in packages:
            package.write(self.folder, old_format=old_format)
        self.index()

    def index_in_shards(self) -> None:
        """Write the index as large public channels have it: compressed, one file a package."""
        subprocess.run([sys.executable, "-I", "-c", _INDEX, self.folder, "shards"], check=True)

    def index(self) -> None:
        subprocess.run([sys.executable, "-I", "-c", _INDEX, self.folder], check=True)
        for path in self.folder.glob("*/repodata.json"):
            # Public channels have the time of the build; this indexer adds its own of today.
            repodata = json.loads(path.read_bytes())
            for row in (*repodata["packages"].values(), *repodata["packages.conda"].values()):
                row.pop("indexed_timestamp", None)
            path.unlink()  # a copy shares it
            path.write_text(json.dumps(repodata))

    def archive(self, name: str) -> Path:
        """The file of the package whose file name begins so."""
        (found,) = [path for path in self.folder.glob(f"*/{name}*") if path.name != "repodata.json"]
        return found

    def copy(self, folder: Path) -> Channel:
        shutil.copytree(self.folder, folder, copy_function=os.link)
        copied = Channel.__new__(Channel)
        copied.folder = folder
        return copied


def conda_spec(channels: str | list[str], *specs: str, **fields: Any) -> EnvSpec:
    """The spec of a conda environment."""
    named = [channels] if isinstance(channels, str) else channels
    return EnvSpec(
        env_manager="conda",
        conda_channels=tuple(named),
        conda_dependencies=specs,
        **{"as_of": "today", **fields},
    )
