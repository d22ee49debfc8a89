"""Lockfiles: written, installed from, and refused where they do not fit."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import uv

from envs import EnvError, EnvSpec, EnvStore, prepare
from envs.building.interpreters import Interpreter
from envs.locking import write_lockfile
from envs.pip.lockfiles import find_lockfile

LocalSpec = Callable[..., EnvSpec]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


@pytest.fixture(scope="module")
def locked_once(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> EnvSpec:
    folder = tmp_path_factory.mktemp("locked")
    lines = ("--no-index", f"--find-links {wheels}", "banana", "apple<2")
    spec = EnvSpec(requirements=lines, build_requirements=(), server_requirements=("cherry",))
    written = write_lockfile(spec, folder, store=EnvStore(folder / "home"))
    assert (written.path, written.packages) == (folder / "pylock.toml", 3)
    return replace(spec, lockfile=written.path)


@pytest.fixture
def locked(locked_once: EnvSpec, model: Path) -> EnvSpec:
    """A spec whose model, this test's own, carries a lockfile of banana, apple and cherry."""
    assert locked_once.lockfile is not None
    shutil.copy(locked_once.lockfile, model)
    return replace(locked_once, lockfile=find_lockfile(model))


def test_nothing_is_resolved_where_there_is_a_lock(locked: EnvSpec, store: EnvStore) -> None:
    said: list[str] = []
    built = prepare(locked, store=store, report=said.append)
    assert built.packages == {"banana": "1.0", "apple": "1.0", "cherry": "1.0"}
    assert said == ["installing 3 packages from pylock.toml"]
    assert prepare(locked, store=store).reused


def test_a_changed_lock_is_another_environment(locked: EnvSpec, store: EnvStore) -> None:
    first = prepare(locked, store=store)
    assert locked.lockfile is not None
    locked.lockfile.write_text(locked.lockfile.read_text() + "\n# edited\n")
    assert prepare(locked, store=store).key != first.key


def test_a_lock_moves_with_its_model_and_the_wheels_beside_it(
    model: Path, store: EnvStore, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    wheel = make_wheel(model / "wheels", "date")
    spec = EnvSpec(
        requirements=("--no-index", f"wheels/{wheel.name}"), base_dir=model, build_requirements=()
    )
    write_lockfile(spec, model, store=store)
    assert str(tmp_path) not in (model / "pylock.toml").read_text()
    moved = model.rename(tmp_path / "elsewhere")
    spec = replace(spec, base_dir=moved, lockfile=moved / "pylock.toml")
    assert prepare(spec, store=store).packages == {"date": "1.0"}


def test_a_hash_that_differs_is_refused_and_names_the_package(
    locked: EnvSpec, store: EnvStore
) -> None:
    assert locked.lockfile is not None
    text = locked.lockfile.read_text()
    start = text.index('name = "banana"')
    changed = re.sub(r'sha256 = "\w{8}', 'sha256 = "00000000', text[start:], count=1)
    locked.lockfile.write_text(text[:start] + changed)
    with pytest.raises(EnvError, match=r"the hash of banana==1\.0 is not the expected one"):
        prepare(locked, store=store)


def test_a_package_without_a_wheel_for_this_platform_is_named(
    model: Path, store: EnvStore, local_spec: LocalSpec
) -> None:
    (model / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "test"\n'
        '[[packages]]\nname = "fig"\nversion = "1.0"\n'
        'wheels = [{ url = "https://host/fig-1.0-cp311-cp311-win_arm64.whl",'
        ' hashes = { sha256 = "00" } }]\n'
    )
    spec = replace(local_spec(), lockfile=model / "pylock.toml")
    with pytest.raises(EnvError, match=r"another Python or platform than 3.*No wheel .*'fig'"):
        prepare(spec, store=store)


def test_another_python_is_refused(
    locked: EnvSpec, store: EnvStore, interpreter: Callable[[str], Interpreter]
) -> None:
    other = interpreter("3.9" if "3.9" not in interpreter_minor() else "3.11")
    with pytest.raises(EnvError, match=f"is for another Python or platform than {other.version}"):
        prepare(replace(locked, python=other.version), store=store)


def interpreter_minor() -> str:
    import sys

    return "{}.{}".format(*sys.version_info)


def test_a_lock_that_requirements_contradict_is_refused(
    locked: EnvSpec, store: EnvStore, local_spec: LocalSpec
) -> None:
    changed = replace(local_spec("banana", "apple==2.0"), lockfile=locked.lockfile)
    with pytest.raises(EnvError, match=r"ask for apple==2\.0, but .*pylock\.toml has 1\.0"):
        prepare(changed, store=store)


def test_what_a_lock_lacks_is_added_without_moving_its_pins(
    model: Path, store: EnvStore, local_spec: LocalSpec
) -> None:
    write_lockfile(local_spec("apple<2"), model, store=store)
    spec = replace(
        local_spec("apple", server_requirements=("banana",)), lockfile=model / "pylock.toml"
    )
    said: list[str] = []
    assert prepare(spec, store=store, report=said.append).packages == {
        "apple": "1.0",
        "banana": "1.0",
    }
    assert said[0] == "pylock.toml lacks banana: adding them"


@pytest.mark.parametrize("text", ["not toml [", 'lock-version = "9"', ""])
def test_what_is_no_lockfile_is_refused(
    model: Path, store: EnvStore, local_spec: LocalSpec, text: str
) -> None:
    (model / "pylock.toml").write_text(text)
    with pytest.raises(EnvError, match=r"pylock\.toml is not"):
        prepare(replace(local_spec(), lockfile=model / "pylock.toml"), store=store)
    assert list(store.root.glob("[0-9a-f]*")) == []


def test_a_uv_lock_with_its_project_is_installed_from(
    model: Path, store: EnvStore, wheels: Path, interpreter: Callable[[str], Interpreter]
) -> None:
    python = interpreter("3.9")
    (model / "pyproject.toml").write_text(
        '[project]\nname = "training"\nversion = "0"\nrequires-python = ">=3.9"\n'
        'dependencies = ["apple<2", "banana", "cherry; python_version < \'3.9\'"]\n'
        f'[tool.uv]\nno-index = true\nfind-links = ["{wheels}"]\n'
    )
    command = [uv.find_uv_bin(), "lock", "--project", str(model), "--python", python.path]
    subprocess.run(command, check=True, capture_output=True)
    lockfile = find_lockfile(model)
    assert lockfile == model / "uv.lock"
    before = sorted(path.name for path in model.iterdir())
    spec = EnvSpec(python=python.version, lockfile=lockfile, build_requirements=())
    built = prepare(spec, store=store)
    assert built.packages == {"apple": "1.0", "banana": "1.0"}
    assert sorted(path.name for path in model.iterdir()) == before
    assert prepare(spec, store=store).reused


def test_a_uv_lock_without_its_project_is_not_taken(model: Path) -> None:
    (model / "uv.lock").touch()
    assert find_lockfile(model) is None
    (model / "pylock.toml").touch()
    (model / "pyproject.toml").touch()
    assert find_lockfile(model) == model / "pylock.toml"


def test_a_lock_from_the_index_is_of_the_day_and_holds_no_credentials(
    model: Path,
    store: EnvStore,
    interpreter: Callable[[str], Interpreter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    python = interpreter("3.7")
    spec = EnvSpec(
        python=python.version, requirements=("tabulate",), logged_at=datetime(2021, 9, 1)
    )
    written = write_lockfile(spec, model, store=store)
    assert written.as_of == "2021-09-01"
    text = written.path.read_text()
    assert 'name = "tabulate"\nversion = "0.8.9"' in text
    assert "@" not in text
    built = prepare(replace(spec, lockfile=written.path), store=store)
    assert built.packages["tabulate"] == "0.8.9"
    assert {"pip", "setuptools", "wheel"} <= set(built.packages)
    shutil.rmtree(model)


def test_a_lock_of_a_private_index_holds_no_credentials_and_uses_those_at_hand(
    model: Path,
    store: EnvStore,
    plain_index: str,
    tmp_path: Path,
    make_slow_sdist: Callable[..., Path],
) -> None:
    lines = (f"--index-url {plain_index}", "apple<2", f"fig @ {plain_index}/fig/fig-1.0.tar.gz")
    make_slow_sdist(tmp_path / "index" / "fig", "fig", 0)
    spec = EnvSpec(requirements=lines, build_requirements=())
    text = write_lockfile(spec, model, store=store).path.read_text()
    assert "sesame" not in text
    assert "@" not in text
    assert plain_index.replace("me:sesame@", "") in text
    built = prepare(replace(spec, lockfile=model / "pylock.toml"), store=store)
    assert built.packages == {"apple": "1.0", "fig": "1.0"}
    for path in store.home.rglob("*"):
        if path.is_file():
            assert "sesame" not in path.read_text(errors="replace"), path


def test_a_package_that_changed_on_the_index_since_is_refused(
    model: Path,
    store: EnvStore,
    plain_index: str,
    tmp_path: Path,
    make_wheel: Callable[..., Path],
) -> None:
    spec = EnvSpec(requirements=(f"--index-url {plain_index}", "apple"), build_requirements=())
    write_lockfile(spec, model, store=store)
    make_wheel(tmp_path / "index" / "apple", "apple", "2.0", code="import os")
    with pytest.raises(EnvError, match=r"the hash of apple==2\.0 is not the expected one"):
        prepare(replace(spec, lockfile=model / "pylock.toml"), store=store)
