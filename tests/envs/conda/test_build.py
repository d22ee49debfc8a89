"""Building environments from channels: what is chosen, what is linked, what pip adds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from envs import EnvError, EnvStore, describe
from envs.managers.conda.packages import Solution
from tests.envs.conda.channel import Channel, Package, conda_spec, library
from tests.envs.conda.server import serving

pytestmark = pytest.mark.slow

Build = Callable[..., Any]
Choose = Callable[..., Solution]


def imported(python: Path, expression: str) -> str:
    """What an expression gives in an environment; each name before a dot is imported."""
    module = expression.partition(".")[0]
    code = f"import {module}; print({expression})"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_an_environment_from_a_folder(build: Build, channel: Channel, python: Package) -> None:
    built = build(channel.url, "pip", "tiny")
    environment = built.environment
    assert environment.env_manager == "conda"
    assert environment.python_version == python.version
    assert built.versions["tiny"] == "2.0"
    assert built.versions["python"] == python.version
    assert imported(environment.python, "tiny.__version__") == "2.0"
    assert imported(environment.python, "sys.prefix") == str(environment.path)
    assert imported(environment.python, "pip.__name__") == "pip"
    assert build(channel.url, "pip", "tiny").environment.reused


def test_an_environment_over_http(build: Build, channel: Channel, fresh_store: EnvStore) -> None:
    with serving(channel.folder) as server:
        built = build(server.url, "tiny", store=fresh_store)
    assert imported(built.environment.python, "tiny.__version__") == "2.0"
    assert "downloading tiny" in built.said


def test_the_requested_specs_are_recorded(build: Build, channel: Channel) -> None:
    environment = build(channel.url, "tiny >=1").environment
    (record,) = environment.path.glob("conda-meta/tiny-*.json")
    assert json.loads(record.read_text())["requested_specs"] == ["tiny >=1"]


def test_packages_of_the_old_format(build: Build, channel: Channel) -> None:
    channel.add(library("old", "1.0"), old_format=True)
    assert build(channel.url, "old").versions["old"] == "1.0"


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("tiny=1", "1.0"),
        ("tiny=1.*", "1.0"),
        ("tiny==1.0", "1.0"),
        ("tiny 1.0", "1.0"),
        ("tiny <2", "1.0"),
        ("tiny>=1, <2", "1.0"),
        ("tiny=1.0=0", "1.0"),
        ("Tiny>1", "2.0"),
    ],
)
def test_specs_are_read_as_conda_reads_them(
    choose: Choose, base_channel: Channel, spec: str, version: str
) -> None:
    assert choose(base_channel.url, spec).versions["tiny"] == version


@pytest.mark.parametrize(
    "form", ["={minor}.*", "={minor}", "{minor}", "=={version}", "={version}=0", " >={minor}"]
)
def test_forms_of_a_python_version(
    choose: Choose, base_channel: Channel, python: Package, form: str
) -> None:
    minor = python.version.rpartition(".")[0]
    found = choose(base_channel.url, python=form.format(minor=minor, version=python.version))
    assert found.versions["python"] == python.version


def test_the_nearest_patch_release_of_python(
    build: Build, base_channel: Channel, python: Package
) -> None:
    wanted = python.version.rpartition(".")[0] + ".99"
    built = build(base_channel.url, python=f"={wanted}")
    assert built.environment.python_version == python.version
    note = f"no channel has python={wanted}: using python {python.version}"
    assert note in built.environment.notes
    assert note in built.said


def test_a_spec_may_name_its_channel(choose: Choose, base_channel: Channel, tmp_path: Path) -> None:
    other = Channel(tmp_path / "other")
    other.add(library("tiny", "1.5"), library("more", "1.0"))
    versions = choose(base_channel.url, f"{other.url}::tiny", "more").versions
    assert (versions["tiny"], versions["more"]) == ("1.5", "1.0")


def test_the_first_channel_wins_and_mixing_is_said(
    choose: Choose, base_channel: Channel, tmp_path: Path
) -> None:
    other = Channel(tmp_path / "other")
    other.add(library("tiny", "3.0"), library("needy", "1.0", depends=["python", "tiny >=3"]))
    first = choose([base_channel.url, other.url], "tiny")
    assert first.versions["tiny"] == "2.0"
    assert first.notes == ()
    mixed = choose([base_channel.url, other.url], "needy")
    assert mixed.versions["tiny"] == "3.0"
    assert mixed.notes == ("conda packages are mixed from several channels",)


def test_as_of_the_day_the_model_was_logged(choose: Choose, base_channel: Channel) -> None:
    def tiny(**fields: Any) -> str:
        return str(choose(base_channel.url, "tiny", **fields).versions["tiny"])

    assert tiny(logged_at=datetime(2022, 1, 1, tzinfo=timezone.utc), as_of="auto") == "1.0"
    assert tiny(as_of="2025-12-31") == "2.0"  # exactly at the bound: its end
    assert tiny(as_of="2025-12-30") == "1.0"
    assert tiny() == "2.0"


def test_a_pin_younger_than_the_model(build: Build, base_channel: Channel) -> None:
    built = build(base_channel.url, "tiny=2", as_of="2022-01-01")
    assert built.versions["tiny"] == "2.0"
    (note,) = built.environment.notes
    assert note == "conda packages are of today: tiny 2.0 is from 2026-01-01, later than 2022-01-01"
    assert note in built.said


def test_a_channel_without_times(choose: Choose, channel: Channel) -> None:
    channel.add(library("timeless", "1.0", built=None))
    found = choose(channel.url, "timeless", as_of="2022-01-01")
    assert found.versions["timeless"] == "1.0"
    (note,) = found.notes
    assert note.endswith("the channel does not say when timeless was built")


def test_no_solution_on_the_day(choose: Choose, channel: Channel) -> None:
    channel.add(library("needy", "1.0", depends=["python", "tiny >=2"]))
    found = choose(channel.url, "needy", as_of="2022-01-01")
    assert found.versions["tiny"] == "2.0"
    assert found.notes == ("conda packages are of today: as of 2022-01-01 there is no solution",)


def test_pip_adds_to_what_conda_installs_and_replaces_nothing(
    build: Build, channel: Channel
) -> None:
    # A version that no package index has, of a package that python-dateutil needs.
    channel.add(library("six", "1.16.99"))
    built = build(channel.url, "six", requirements=("python-dateutil<3", "six>=1.10"))
    assert built.versions["six"] == "1.16.99"
    assert imported(built.environment.python, "six.maker") == "conda"
    assert imported(built.environment.python, "dateutil.__name__") == "dateutil"


def test_pins_of_the_pip_section_choose_among_condas_versions(
    choose: Choose, channel: Channel
) -> None:
    channel.add(library("six", "1.15.98"), library("six", "1.16.99"))
    channel.add(library("needy", "1.0", depends=["python", "six"]))
    assert choose(channel.url, "needy").versions["six"] == "1.16.99"
    pinned = choose(channel.url, "needy", requirements=("six==1.15.98",))
    assert pinned.versions["six"] == "1.15.98"


def test_two_sections_that_contradict_each_other(build: Build, channel: Channel) -> None:
    channel.add(library("six", "1.16.99"))
    with pytest.raises(EnvError) as raised:
        build(channel.url, "six", requirements=("six==1.15.0",))
    assert raised.value.message == (
        "The pip section asks for six==1.15.0, but conda installs six 1.16.99."
    )
    with pytest.raises(EnvError, match="six"):
        build(
            channel.url,
            "six",
            requirements=("python-dateutil==2.8.2", "six<1.16 ; python_version>'3'"),
        )


def test_copied_packages(build: Build, channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "__init__.py").write_text("here = True\n")
    built = build(channel.url, copied_packages=(tmp_path / "extra",))
    assert imported(built.environment.python, "extra.here") == "True"


def test_what_the_key_is_made_of(store: EnvStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(channels: Any = "https://a:b@host.example/ch", *specs: str, **fields: Any) -> str:
        spec = conda_spec(channels, *(specs or ("tiny", "pip")), **fields)
        return describe(spec, store=store).key

    same = key()
    assert key("https://c:d@host.example/ch") == same
    assert key("https://host.example/t/token/ch") == same
    assert key("https://host.example/ch/", "pip", "tiny") == same
    others = [
        key("https://host.example/other"),
        key(["https://host.example/ch", "https://host.example/other"]),
        key("https://host.example/ch", "tiny=1"),
        key(python="=3.9"),
        key(requirements=("six",)),
        key(as_of="2022-01-01"),
    ]
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "2.5")
    others.append(key())
    assert len({same, *others}) == len(others) + 1


def test_without_py_rattler(
    channel: Channel, store: EnvStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in: the tests themselves need the package to be there.
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EnvError) as raised:
        describe(conda_spec(channel.url), store=store)
    assert "py-rattler, which is not installed" in raised.value.message
    assert raised.value.hint.startswith("pip install 'py-rattler")


def test_nothing_of_the_launcher_imports_py_rattler() -> None:
    code = "import sys, envs.managers.conda.planning; sys.exit('rattler' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
