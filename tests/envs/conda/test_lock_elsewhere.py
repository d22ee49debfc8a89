"""A conda-lock.yml for several platforms, of which this machine is one at most."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uv
import yaml

from envs import EnvError, EnvStore
from envs.locking import write_lockfile
from envs.managers.manager import WrittenLockfile
from tests.envs.conda.channel import Channel, Package, conda_spec, library, subdir

pytestmark = pytest.mark.slow

Build = Callable[..., Any]
PLATFORMS = ("linux-64", "osx-arm64", "linux-aarch64")
# greenlet has wheels of its own for each platform; six comes from conda on macOS alone.
PIP = ("python-dateutil==2.9.0", "greenlet==3.2.4", "colorama; sys_platform == 'darwin'")


def elsewhere(python: Package, platform: str) -> Package:
    """A Python for another platform: nothing in it runs here."""
    minor = ".".join(python.version.split(".")[:2])
    files = {
        f"bin/python{minor}": b"\xcf\xfa\xed\xfe not for this machine",
        f"lib/python{minor}/site-packages/README.txt": b"packages go here\n",
    }
    system = "__osx >=11.0" if platform.startswith("osx") else "__glibc >=2.17"
    return Package(
        *("python", python.version, (system,), files, {"bin/python": f"python{minor}"}),
        executable=frozenset({f"bin/python{minor}"}),
        noarch=None,
        subdir=platform,
        built="2019-01-01",
    )


@pytest.fixture
def locked(
    channel: Channel, python: Package, store: EnvStore, tmp_path: Path
) -> tuple[WrittenLockfile, Channel]:
    for platform in {*PLATFORMS, "linux-64"} - {subdir()}:
        elsewhere(python, platform).write(channel.folder)
    channel.add(
        library("gpu", "1.0"),
        library("gpu", "2.0", depends=("python", "__cuda")),
        library("old", "1.0"),
        library("old", "2.0", depends=("python", "__glibc >=2.30")),
        library("six", "1.16.99"),
        *(
            Package("bridge", "1.0", depends, noarch=None, subdir=platform, built="2019-01-01")
            for platform in PLATFORMS
            for depends in [("six",) if platform.startswith("osx") else ()]
        ),
    )
    spec = conda_spec(channel.url, "bridge", "gpu", "old", "tiny=1", requirements=PIP)
    return write_lockfile(spec, tmp_path, store=store, platforms=PLATFORMS), channel


def rows(path: Path, platform: str, manager: str) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load(path.read_text())
    return {
        row["name"]: row
        for row in document["package"]
        if (row["platform"], row["manager"]) == (platform, manager)
    }


def content_of(path: Path) -> dict[str, Any]:
    """What a file says, whatever the order of its packages."""
    document = yaml.safe_load(path.read_text())
    document["package"].sort(key=lambda row: (row["platform"], row["manager"], row["name"]))
    return dict(document)


READ_BACK = """
import pathlib, sys
from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file

ours, rewritten, *platforms = sys.argv[1:]
content = parse_conda_lock_file(pathlib.Path(ours))
assert content.metadata.platforms == platforms, content.metadata
write_conda_lock_file(content, pathlib.Path(rewritten), metadata_choices=set())
"""


def test_one_file_for_all_that_conda_lock_reads_renders_and_writes_back(
    build: Build,
    locked: tuple[WrittenLockfile, Channel],
    fresh_store: EnvStore,
    tmp_path: Path,
) -> None:
    written, channel = locked
    assert written.note is None
    document = yaml.safe_load(written.path.read_text())
    assert document["metadata"]["platforms"] == list(PLATFORMS)
    assert set(document["metadata"]["content_hash"]) == set(PLATFORMS)
    wheels = {"linux-64": "x86_64", "osx-arm64": "macosx", "linux-aarch64": "aarch64"}
    for platform in PLATFORMS:
        mac = platform == "osx-arm64"
        conda, pip = (rows(written.path, platform, manager) for manager in ("conda", "pip"))
        # No driver is assumed, whatever this machine has, and the oldest system.
        assert (conda["gpu"]["version"], conda["old"]["version"]) == ("1.0", "1.0")
        assert conda["python"]["url"].startswith(f"{channel.url}/{platform}/python-")
        of_pip = {"colorama"} if mac else {"six"}
        assert set(pip) == {"python-dateutil", "greenlet", *of_pip}
        assert wheels[platform] in pip["greenlet"]["url"]
        assert list(pip["python-dateutil"]["dependencies"]) == ["six"]
        assert pip["greenlet"]["hash"]["sha256"]
    # conda-lock itself, from PyPI, in an environment of its own.
    oracle, rewritten = tmp_path / "oracle", tmp_path / "rewritten" / "conda-lock.yml"
    rewritten.parent.mkdir()
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--python", sys.executable, oracle], check=True)
    python = oracle / "bin" / "python"
    install = [uv.find_uv_bin(), "pip", "install", "-q", "--python", python, "conda-lock>=3"]
    subprocess.run(install, check=True)
    command = [python, "-c", READ_BACK, written.path, rewritten, *PLATFORMS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content_of(rewritten) == content_of(written.path)
    for name, source in (("ours", written.path), ("theirs", rewritten)):
        folder = tmp_path / name
        folder.mkdir()
        command = [oracle / "bin" / "conda-lock", "render", "--kind", "explicit"]
        command += [*(f"--platform={each}" for each in PLATFORMS), source]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stderr
        for platform in PLATFORMS:
            lines = (folder / f"conda-{platform}.lock").read_text().splitlines()
            urls = {line.partition("#")[0] for line in lines if line.startswith("file:")}
            assert urls == {row["url"] for row in rows(written.path, platform, "conda").values()}
            of_pip = [line for line in lines if line.startswith("# pip ")]
            assert {line.split()[2] for line in of_pip} == {*rows(written.path, platform, "pip")}
            assert all("@ https://" in line and "sha256=" in line for line in of_pip)
    assert (tmp_path / "ours" / "conda-osx-arm64.lock").read_text().count("@EXPLICIT") == 1
    built = build(channel.url, "tiny=1", requirements=PIP, lockfile=rewritten, store=fresh_store)
    assert built.versions["greenlet"] == "3.2.4"
    assert not any("resolving" in line for line in built.said)


def test_what_the_machine_has_is_said_by_condas_own_variables(
    channel: Channel, store: EnvStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.add(library("gpu", "1.0"), library("gpu", "2.0", depends=("python", "__cuda >=12")))
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    spec = conda_spec(channel.url, "gpu")
    written = write_lockfile(spec, tmp_path, store=store, platforms=(subdir(),))
    assert rows(written.path, subdir(), "conda")["gpu"]["version"] == "2.0"


def test_a_package_that_a_platform_has_not_is_named_with_it(
    channel: Channel, python: Package, store: EnvStore, tmp_path: Path
) -> None:
    elsewhere(python, "osx-arm64").write(channel.folder)
    channel.add(Package("lonely", "1.0", noarch=None, subdir=subdir(), built="2019-01-01"))
    spec = conda_spec(channel.url, "lonely")
    with pytest.raises(EnvError) as raised:
        write_lockfile(spec, tmp_path, store=store, platforms=(subdir(), "osx-arm64"))
    assert "osx-arm64" in raised.value.message
    assert "lonely" in raised.value.message
    assert not (tmp_path / "conda-lock.yml").exists()
