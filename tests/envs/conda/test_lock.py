"""conda-lock.yml: written, read, installed from; and what does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs import EnvError, Environment, EnvStore, prepare
from envs.locking import write_lockfile
from envs.managers.conda.lockfile import read_conda_lockfile
from tests.envs.conda.channel import Channel, Package, conda_spec, library, subdir
from tests.envs.conda.server import serving

pytestmark = pytest.mark.slow

Build = Callable[..., Any]
PIP_SECTION = ("python-dateutil==2.9.0", "six")


def write_lock(
    store: EnvStore, target: Path, channel: str, *specs: str, **fields: Any
) -> tuple[Environment, str | None]:
    """Lock; the environment that was locked, and the note."""
    spec = conda_spec(channel, *specs, **fields)
    written = write_lockfile(spec, target.parent, store=store)
    assert written.path == target
    environment = prepare(spec, store=store)
    assert environment.reused
    return environment, written.note


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The lockfile after a change of its content."""
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))
    return path


def row(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [row for row in document["package"] if row["name"] == name]
    return found


@pytest.fixture(scope="module")
def locked_once(
    base_channel: Channel, launcher_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("locked") / "conda-lock.yml"
    write_lock(EnvStore(launcher_home), target, base_channel.url, "tiny=1")
    return target


@pytest.fixture
def locked(locked_once: Path, tmp_path: Path) -> Path:
    """A lockfile of tiny 1.0, by conda, without a pip section; this test's own."""
    return Path(shutil.copy(locked_once, tmp_path))


def test_a_lock_has_the_form_of_conda_lock(locked: Path, base_channel: Channel) -> None:
    document = yaml.safe_load(locked.read_text())
    assert document["version"] == 1
    assert document["metadata"]["platforms"] == [subdir()]
    assert list(document["metadata"]["content_hash"]) == [subdir()]
    assert document["metadata"]["channels"] == [{"url": base_channel.url, "used_env_vars": []}]
    tiny = row(document, "tiny")
    assert tiny["url"] == f"{base_channel.url}/noarch/tiny-1.0-0.conda"
    assert set(tiny["hash"]) == {"md5", "sha256"}
    assert tiny["dependencies"] == {"python": ""}
    assert (tiny["manager"], tiny["platform"], tiny["category"]) == ("conda", subdir(), "main")


def test_what_is_locked_is_installed(
    build: Build, channel: Channel, locked: Path, fresh_store: EnvStore
) -> None:
    environment = build(channel.url, "tiny", lockfile=locked, store=fresh_store).environment
    assert environment.packages["tiny"] == "1.0"
    manifest = json.loads((environment.path.parent / "manifest.json").read_text())
    assert manifest["as_of"] == "lock"
    assert "tiny-1.0-0.conda#sha256:" in manifest["resolved"]
    (record,) = environment.path.glob("conda-meta/tiny-*.json")
    assert json.loads(record.read_text())["name"] == "tiny"


def test_the_pip_section_is_locked_with_its_files(
    build: Build, channel: Channel, store: EnvStore, tmp_path: Path
) -> None:
    target = tmp_path / "conda-lock.yml"
    channel.add(library("six", "1.16.99"))
    environment, left_out = write_lock(store, target, channel.url, "six", requirements=PIP_SECTION)
    assert left_out is None
    found = read_conda_lockfile(target, subdir())
    assert [(p.name, p.version) for p in found.pip] == [("python-dateutil", "2.9.0")]
    assert found.pip[0].url.startswith("https://")
    assert {p.name for p in found.conda} == {"python", "pip", "six"}
    assert row(yaml.safe_load(target.read_text()), "python-dateutil")["dependencies"] == {
        "six": ">=1.5"
    }
    again = build(channel.url, "six", requirements=PIP_SECTION, lockfile=target)
    assert again.environment.key != environment.key
    assert again.environment.packages == environment.packages
    assert not any("resolving" in line for line in again.said)


def test_a_lock_that_lacks_what_the_server_needs(
    build: Build, channel: Channel, locked: Path
) -> None:
    built = build(channel.url, "tiny", lockfile=locked, server_requirements=("six",))
    assert f"{locked.name} lacks six: adding them" in built.said
    assert "six" in built.versions


def test_what_no_index_has_is_left_out(
    store: EnvStore, base_channel: Channel, tmp_path: Path
) -> None:
    from zipfile import ZipFile

    wheel = tmp_path / "own-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("own.py", "")
        archive.writestr(
            "own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n"
        )
        archive.writestr(
            "own-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("own-1.0.dist-info/RECORD", "own.py,,\n")
    target = tmp_path / "conda-lock.yml"
    environment, left_out = write_lock(store, target, base_channel.url, requirements=(str(wheel),))
    assert environment.packages["own"] == "1.0"
    assert left_out == "own comes from no index: conda-lock.yml cannot hold it"


def refused(build: Build, *arguments: Any, **fields: Any) -> str:
    with pytest.raises(EnvError) as raised:
        build(*arguments, **fields)
    assert "\n" not in raised.value.message
    return raised.value.message


def test_a_lock_for_another_platform(build: Build, channel: Channel, locked: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["metadata"]["platforms"] = ["osx-arm64"]
        for each in document["package"]:
            each["platform"] = "osx-arm64"

    message = refused(build, channel.url, "tiny", lockfile=edited(locked, change))
    assert f"{locked} is for osx-arm64, not for {subdir()} (its pip is " in message


def test_a_hash_that_differs(
    build: Build, channel: Channel, locked: Path, fresh_store: EnvStore
) -> None:
    edited(locked, lambda document: row(document, "tiny")["hash"].update(sha256="0" * 64))
    expected = "The hash of the conda package tiny-1.0-0.conda is not the expected one."
    assert refused(build, channel.url, "tiny", lockfile=locked, store=fresh_store) == expected


def test_a_hash_that_differs_over_http(
    build: Build, channel: Channel, fresh_store: EnvStore, tmp_path: Path
) -> None:
    target = tmp_path / "conda-lock.yml"
    with serving(channel.folder) as server:
        write_lock(fresh_store, target, server.url, "tiny=1")
        edited(target, lambda document: row(document, "tiny")["hash"].update(sha256="0" * 64))
        expected = "The hash of the conda package tiny-1.0-0.conda is not the expected one."
        assert refused(build, server.url, "tiny", lockfile=target, store=fresh_store) == expected


def test_a_hash_that_differs_in_the_pip_section(
    build: Build, base_channel: Channel, store: EnvStore, tmp_path: Path
) -> None:
    target = tmp_path / "conda-lock.yml"
    write_lock(store, target, base_channel.url, requirements=("six==1.16.0",))
    edited(target, lambda document: row(document, "six")["hash"].update(sha256="0" * 64))
    message = refused(build, base_channel.url, requirements=("six",), lockfile=target)
    assert "six" in message
    assert "hash" in message


@pytest.mark.parametrize(
    ("specs", "fields", "words"),
    [
        (["tiny>=2"], {}, "has tiny 1.0, but conda.yaml asks for tiny>=2"),
        (["more"], {}, "lacks more, which conda.yaml asks for"),
        (["tiny"], {"python": "=3.6"}, "but conda.yaml asks for python=3.6"),
        (["tiny"], {"requirements": ("tiny>=2",)}, "asks for tiny>=2, but conda-lock.yml has tiny"),
    ],
)
def test_a_lock_that_the_model_has_outgrown(
    build: Build,
    base_channel: Channel,
    locked: Path,
    specs: list[str],
    fields: dict[str, Any],
    words: str,
) -> None:
    assert words in refused(build, base_channel.url, *specs, lockfile=locked, **fields)


@pytest.mark.parametrize("content", ["version: 2", "[", "- a", "version: 1\nmetadata: {}\n"])
def test_what_is_no_lock(build: Build, base_channel: Channel, locked: Path, content: str) -> None:
    locked.write_text(content)
    assert str(locked) in refused(build, base_channel.url, lockfile=locked)


def test_a_package_without_a_hash(build: Build, base_channel: Channel, locked: Path) -> None:
    edited(locked, lambda document: row(document, "tiny").update(hash={}))
    assert "has no hash for tiny" in refused(build, base_channel.url, lockfile=locked)


def test_credentials_are_not_in_the_lock(
    build: Build, channel: Channel, fresh_store: EnvStore, tmp_path: Path
) -> None:
    target = tmp_path / "conda-lock.yml"
    with serving(channel.folder, user="me:s3cret", token="t0ken") as server:
        given = f"http://me:s3cret@{server.address}/t/t0ken/channel"
        write_lock(fresh_store, target, given, "tiny")
        text = target.read_text()
        assert server.url in text
        assert "s3cret" not in text
        assert "t0ken" not in text
        other = EnvStore(fresh_store.home / "other")
        assert build(given, "tiny", lockfile=target, store=other).versions["tiny"] == "2.0"


READ_BACK = """
import pathlib, sys
from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file
from conda_lock.conda_lock import render_lockfile_for_platform

ours, rewritten, platform = sys.argv[1:]
content = parse_conda_lock_file(pathlib.Path(ours))
assert content.metadata.platforms == [platform], content.metadata
lines = render_lockfile_for_platform(
    lockfile=content, platform=platform, kind="explicit",
    include_dev_dependencies=False, extras=set(),
)
write_conda_lock_file(content, pathlib.Path(rewritten), metadata_choices=set())
print("\\n".join(lines))
"""


@pytest.mark.slow
def test_conda_lock_reads_it_back_and_we_read_what_it_writes(
    build: Build,
    channel: Channel,
    python: Package,
    store: EnvStore,
    fresh_store: EnvStore,
    tmp_path: Path,
) -> None:
    """conda-lock itself, from PyPI, in an environment of its own."""
    import uv

    target, rewritten = tmp_path / "conda-lock.yml", tmp_path / "rewritten" / "conda-lock.yml"
    rewritten.parent.mkdir()
    environment, _ = write_lock(store, target, channel.url, "tiny=1", requirements=PIP_SECTION)
    oracle = tmp_path / "oracle"
    binary = uv.find_uv_bin()
    subprocess.run([binary, "venv", "-q", "--python", sys.executable, oracle], check=True)
    install = [binary, "pip", "install", "-q", "--python", oracle / "bin" / "python"]
    subprocess.run([*install, "conda-lock>=3"], check=True)
    done = subprocess.run(
        [oracle / "bin" / "python", "-c", READ_BACK, target, rewritten, subdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    explicit = [line for line in done.stdout.splitlines() if line.startswith("file:")]
    assert {line.rpartition("/")[2].partition("#")[0] for line in explicit} == {
        "tiny-1.0-0.conda",
        f"python-{python.version}-0.conda",
        channel.archive("pip-").name,
    }
    assert "# pip python-dateutil @ https://" in done.stdout
    again = build(
        channel.url, "tiny=1", requirements=PIP_SECTION, lockfile=rewritten, store=fresh_store
    )
    assert again.versions == dict(environment.packages)
