"""Wheelhouses: filled with a network, built from without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from envs import EnvError, EnvSpec, EnvStore, prepare
from envs.building.interpreters import Interpreter
from envs.locking import fill_wheelhouse, write_lockfile

pytestmark = pytest.mark.slow

LocalSpec = Callable[..., EnvSpec]


def test_a_wheelhouse_holds_exact_wheels_and_a_list_with_their_hashes(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path
) -> None:
    wheels = fill_wheelhouse(local_spec("banana", "apple<2"), tmp_path / "house", store=store)
    assert [path.name for path in wheels] == [
        "apple-1.0-py3-none-any.whl",
        "banana-1.0-py3-none-any.whl",
    ]
    (listed,) = (tmp_path / "house").glob("requirements-*.txt")
    assert listed.read_text().startswith("apple==1.0 --hash=sha256:")


def test_building_from_a_wheelhouse_gives_the_same_key(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path
) -> None:
    spec = local_spec("banana")
    fill_wheelhouse(spec, tmp_path / "house", store=store)
    said: list[str] = []
    other = EnvStore(tmp_path / "other")
    built = prepare(spec, store=other, wheelhouse=tmp_path / "house", report=said.append)
    assert built.packages == {"apple": "2.0", "banana": "1.0"}
    assert said == ["installing 2 packages"]
    assert built.key == prepare(spec, store=store).key


def test_a_wheelhouse_that_was_filled_for_another_spec_is_resolved_from(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path
) -> None:
    fill_wheelhouse(local_spec("banana"), tmp_path / "house", store=store)
    spec = EnvSpec(requirements=("apple",), build_requirements=())
    built = prepare(spec, store=store, wheelhouse=tmp_path / "house")
    assert built.packages == {"apple": "2.0"}
    with pytest.raises(EnvError, match="cherry"):
        prepare(
            EnvSpec(requirements=("cherry",), build_requirements=()),
            store=store,
            wheelhouse=tmp_path / "house",
        )
    with pytest.raises(EnvError, match="There is no wheelhouse"):
        prepare(spec, store=EnvStore(tmp_path / "o"), wheelhouse=tmp_path / "nowhere")


def test_a_tampered_wheel_is_refused(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    spec = local_spec("apple")
    fill_wheelhouse(spec, tmp_path / "house", store=store)
    make_wheel(tmp_path / "house", "apple", "2.0", code="import os")
    with pytest.raises(EnvError, match=r"the hash of apple==2\.0 is not the expected one"):
        prepare(spec, store=store, wheelhouse=tmp_path / "house")


def test_a_locked_model_is_downloaded_as_it_is_locked(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path
) -> None:
    from dataclasses import replace

    write_lockfile(local_spec("banana", "apple<2"), tmp_path, store=store)
    spec = replace(local_spec("banana"), lockfile=tmp_path / "pylock.toml")
    wheels = fill_wheelhouse(spec, tmp_path / "house", store=store)
    assert [path.name.split("-")[:2] for path in wheels] == [["apple", "1.0"], ["banana", "1.0"]]


def test_sources_become_wheels(
    store: EnvStore, tmp_path: Path, make_slow_sdist: Callable[..., Path]
) -> None:
    make_slow_sdist(tmp_path / "sources", "grape", 0)
    lines = ("--no-index", f"--find-links {tmp_path}/sources", "grape")
    spec = EnvSpec(requirements=lines, build_requirements=())
    wheels = fill_wheelhouse(spec, tmp_path / "house", store=store)
    assert [path.name for path in wheels] == ["grape-1.0-py3-none-any.whl"]
    assert list((tmp_path / "house").glob("*.tar.gz")) == []
    assert prepare(spec, store=store, wheelhouse=tmp_path / "house").packages == {"grape": "1.0"}


def test_a_machine_without_a_network_builds_from_the_wheelhouse(
    store: EnvStore, interpreter: Callable[[str], Interpreter], tmp_path: Path
) -> None:
    """In a network namespace that has no routes, not even to this host, and an empty cache."""
    python = interpreter("3.7").version
    spec = EnvSpec(
        python=python, requirements=("tabulate", "markupsafe"), logged_at=datetime(2021, 9, 1)
    )
    fill_wheelhouse(spec, tmp_path / "house", store=store)
    code = f"""if True:
        import socket, sys
        from datetime import datetime
        from pathlib import Path
        from envs import EnvSpec, EnvStore, prepare
        try:
            socket.create_connection(("1.1.1.1", 443), 2)
            sys.exit("there is a network")
        except OSError:
            pass
        spec = EnvSpec(python={python!r}, requirements=("tabulate", "markupsafe"),
                       logged_at=datetime(2021, 9, 1))
        built = prepare(spec, store=EnvStore(Path({str(tmp_path / "other")!r})),
                        wheelhouse=Path({str(tmp_path / "house")!r}))
        print(built.python, built.packages["tabulate"])
    """
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: apt-get install util-linux")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**__import__("os").environ, "UV_CACHE_DIR": str(tmp_path / "empty-cache")},
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no network namespaces on this machine, run as root: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    built_python, version = done.stdout.split()
    assert version == "0.8.9"
    subprocess.run([built_python, "-c", "import tabulate, markupsafe"], check=True)
