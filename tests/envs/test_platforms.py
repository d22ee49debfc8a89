"""A lock for several platforms: made here, the same wherever it is made, and chosen from."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import uv
from packaging.pylock import Pylock

from envs import EnvError, EnvSpec, EnvStore, prepare
from envs.building.interpreters import Interpreter
from envs.locking import write_lockfile
from envs.pip.merging import merge
from envs.pip.platforms import PLATFORMS
from envs.pip.pylock import choose, load_pylock, parse_toml, supported_tags

HERE = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[platform.machine()]
ALL = ("linux-64", "osx-arm64", "linux-aarch64")
TAGS = {
    "linux-64": "manylinux_2_17_x86_64",
    "linux-aarch64": "manylinux_2_17_aarch64",
    "osx-arm64": "macosx_11_0_arm64",
}
PYTHON = Interpreter(
    sys.executable, platform.python_version(), "cpython", "elsewhere", ".so"
)  # what a lock is chosen for; nothing of it runs


@pytest.fixture(scope="module")
def locked(
    tmp_path_factory: pytest.TempPathFactory, make_wheel: Callable[..., Path]
) -> tuple[EnvSpec, EnvStore]:
    """A spec with its lock for all: fig is built for each, newer on macOS; elm is for macOS."""
    folder = tmp_path_factory.mktemp("platforms")
    for tag in TAGS.values():
        make_wheel(folder / "wheels", "fig", "1.0", tag=f"py3-none-{tag}")
    make_wheel(folder / "wheels", "fig", "2.0", tag=f"py3-none-{TAGS['osx-arm64']}")
    make_wheel(folder / "wheels", "ash", "1.0", requires=("fig",))
    make_wheel(folder / "wheels", "elm")
    lines = (
        "--no-index",
        f"--find-links {folder / 'wheels'}",
        "ash",
        "elm; sys_platform == 'darwin'",
    )
    spec = EnvSpec(requirements=lines, build_requirements=(), base_dir=folder)
    store = EnvStore(folder / "home")
    written = write_lockfile(spec, folder, store=store, platforms=ALL)
    assert (written.path, written.packages) == (folder / "pylock.toml", 4)
    return replace(spec, lockfile=written.path), store


def lock_of(locked: tuple[EnvSpec, EnvStore]) -> Pylock:
    assert locked[0].lockfile is not None
    return load_pylock(locked[0].lockfile.read_text(), "the lock")


def test_each_platform_gets_its_part(locked: tuple[EnvSpec, EnvStore]) -> None:
    pylock = lock_of(locked)
    assert len(pylock.environments or ()) == len(ALL)
    for name in ALL:
        chosen = choose(pylock, "it", PYTHON, PLATFORMS[name])
        mac = name == "osx-arm64"
        versions = {package.name: str(package.version) for package, _ in chosen}
        assert versions == {"ash": "1.0", "fig": "2.0" if mac else "1.0"} | (
            {"elm": "1.0"} if mac else {}
        )
        (fig,) = [str(archive) for package, archive in chosen if package.name == "fig"]
        assert TAGS[name] in fig
    assert all(
        "sha256" in wheel.hashes for package in pylock.packages for wheel in package.wheels or ()
    )
    assert pylock.tool is not None
    assert pylock.tool["launcher"]["oldest"]["linux-64"] == "glibc 2.28"


def test_it_is_installed_from_here_and_nothing_is_resolved(
    locked: tuple[EnvSpec, EnvStore],
) -> None:
    said: list[str] = []
    spec, store = locked
    assert prepare(spec, store=store, report=said.append).packages == {"ash": "1.0", "fig": "1.0"}
    assert said == ["installing 2 packages from pylock.toml"]


def test_a_platform_that_is_not_in_it_is_refused(
    locked: tuple[EnvSpec, EnvStore], tmp_path: Path
) -> None:
    spec, store = locked
    written = write_lockfile(spec, tmp_path, store=store, platforms=("osx-arm64",))
    with pytest.raises(EnvError) as raised:
        prepare(replace(spec, lockfile=written.path), store=store)
    assert raised.value.message == f"{written.path} is for osx-arm64, not for {HERE}."
    assert raised.value.hint == (
        f"Write it again: launcher lock --platform osx-arm64 --platform {HERE}"
    )


def test_a_package_without_a_wheel_for_a_platform_is_named_with_it(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    make_wheel(tmp_path / "wheels", "oak", "1.0", tag=f"py3-none-{TAGS['linux-64']}")
    spec = EnvSpec(
        requirements=("--no-index", f"--find-links {tmp_path / 'wheels'}", "oak==1.0"),
        build_requirements=(),
        base_dir=tmp_path,
    )
    store = EnvStore(tmp_path / "home")
    with pytest.raises(EnvError) as raised:
        write_lockfile(spec, tmp_path, store=store, platforms=("linux-64", "osx-arm64"))
    assert raised.value.message.startswith("The requirements cannot be resolved for osx-arm64: oak")
    assert raised.value.hint is not None
    assert "leave that platform out" in raised.value.hint
    assert not (tmp_path / "pylock.toml").exists()


def test_uv_reads_it_for_each_platform(locked: tuple[EnvSpec, EnvStore], tmp_path: Path) -> None:
    lockfile = locked[0].lockfile
    assert lockfile is not None
    target = tmp_path / "empty"
    for name, words in product(ALL, (["sync", lockfile], ["install", "-r", lockfile])):
        command = [uv.find_uv_bin(), "pip", *words, "--dry-run", "--target", target, "--offline"]
        command += ["--python", sys.executable, "--preview-features", "pylock"]
        command += ["--python-platform", PLATFORMS[name].uv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("fig==2.0" in done.stderr) == (name == "osx-arm64"), done.stderr
        assert ("elm==1.0" in done.stderr) == (name == "osx-arm64"), done.stderr


def test_what_is_merged_is_toml_whatever_is_in_it() -> None:
    text = (
        'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\n'
        '[packages.vcs]\ntype = "git"\nurl = "https://x.invalid/ü\\"\\\\.git"\ncommit-id = "0"\n'
        '[[packages]]\nname = "b"\n[packages.directory]\npath = "./b"\neditable = true\n'
        '[[packages]]\nname = "c"\nversion = "1"\n[packages.archive]\nurl = "https://x.invalid/c"\n'
        'upload-time = 2024-01-02T03:04:05Z\nsize = 7\n[packages.archive.hashes]\n"x.y" = "0"\n'
    )
    given = parse_toml(text)["packages"]
    merged = merge({PLATFORMS["linux-64"]: text, PLATFORMS["osx-arm64"]: text}, PYTHON)
    assert parse_toml(merged)["packages"] == given


@pytest.mark.parametrize("name", ["linux-64", "linux-aarch64", "osx-64", "osx-arm64"])
def test_tags_of_a_platform(name: str) -> None:
    tags = [str(tag) for tag in supported_tags(PYTHON, PLATFORMS[name])]
    assert tags[0].endswith(
        {
            "linux-64": "manylinux_2_28_x86_64",
            "linux-aarch64": "manylinux_2_28_aarch64",
            "osx-64": "macosx_13_0_x86_64",
            "osx-arm64": "macosx_13_0_arm64",
        }[name]
    )
    assert any(tag.endswith("none-any") for tag in tags)
    assert len(set(tags)) == len(tags)


@pytest.mark.slow
def test_each_part_is_what_uv_resolves_for_that_platform_alone(tmp_path: Path) -> None:
    """With packages of the index, whose wheels differ; numpy's macOS wheels are of their own."""
    lines = ("numpy==2.2.6", "pandas==2.2.3", "psutil", "uvloop; sys_platform == 'linux'")
    spec = EnvSpec(requirements=lines, build_requirements=())
    names = (*ALL, "osx-64")
    written = write_lockfile(spec, tmp_path, store=EnvStore(tmp_path / "home"), platforms=names)
    pylock = load_pylock(written.path.read_text(), "it")
    source = tmp_path / "wanted.in"
    source.write_text("\n".join(lines))
    for name in names:
        alone = tmp_path / "pylock.alone.toml"
        command = [uv.find_uv_bin(), "pip", "compile", source, "--format", "pylock.toml", "-o"]
        command += [alone, "--python", sys.executable, "--python-platform", PLATFORMS[name].uv]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        expected = choose(load_pylock(alone.read_text(), "uv's"), "it", PYTHON, PLATFORMS[name])
        found = choose(pylock, "it", PYTHON, PLATFORMS[name])
        assert [(p.name, p.version, a) for p, a in found] == [
            (p.name, p.version, a) for p, a in expected
        ]
        alone.unlink()
    # uv itself installs another platform's part, hashes verified.
    for name, tag in (("osx-arm64", "macosx_11_0_arm64"), ("linux-aarch64", "aarch64")):
        target = tmp_path / name
        command = [uv.find_uv_bin(), "pip", "sync", written.path, "--target", target]
        command += ["--python", sys.executable, "--preview-features", "pylock", "--require-hashes"]
        command += ["--python-platform", PLATFORMS[name].uv, "--no-build"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (wheel,) = target.glob("psutil-*.dist-info/WHEEL")
        assert tag in wheel.read_text()
        assert (target / "uvloop").is_dir() == (name == "linux-aarch64")
