"""Resolving with real uv against the real index: dates, hashes, fallbacks, offline."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from envs import EnvError, Environment, EnvSpec, EnvStore, prepare
from envs.building.interpreters import Interpreter
from envs.pip.uv import reason

Find = Callable[[str], Interpreter]


def as_of_2021(version: str, *requirements: str, **fields: object) -> EnvSpec:
    values = {"build_requirements": (), "logged_at": datetime(2021, 9, 1, 12), **fields}
    return EnvSpec(python=version, requirements=requirements, **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def old(interpreter: Find, launcher_home: Path) -> Environment:
    """Python 3.7 with tabulate and the default build requirements, as of September 2021."""
    spec = EnvSpec(
        python=interpreter("3.7").version,
        requirements=("tabulate",),
        server_requirements=("gunicorn>=20",),
        younger=("gunicorn=2024-05-01",),
        logged_at=datetime(2021, 9, 1, 12),
    )
    return prepare(spec, store=EnvStore(launcher_home))


def test_packages_are_those_of_the_day_on_python_3_7(old: Environment) -> None:
    assert old.packages["tabulate"] == "0.8.9"
    assert old.packages["setuptools"] == "57.4.0"
    assert old.python_version.startswith("3.7.")
    done = subprocess.run(
        [old.python, "-c", "import pkg_resources, tabulate, pip, sys; print(sys.version[:3])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3.7\n"


def test_only_the_exempted_package_is_newer_than_the_day(old: Environment) -> None:
    assert old.packages["gunicorn"] == "22.0.0"  # the newest on its own day, and no newer one
    assert old.packages["packaging"] == "21.0"


def test_an_exempted_package_that_the_model_names_is_of_the_day(
    interpreter: Find, store: EnvStore
) -> None:
    spec = as_of_2021(
        interpreter("3.9").version,
        "gunicorn",
        server_requirements=("gunicorn>=20",),
        younger=("gunicorn=2024-05-01",),
    )
    assert prepare(spec, store=store).packages["gunicorn"] == "20.1.0"


def test_a_pin_that_is_younger_than_the_model_means_today_and_a_line_that_says_so(
    interpreter: Find, store: EnvStore
) -> None:
    said: list[str] = []
    spec = as_of_2021(interpreter("3.9").version, "tabulate==0.9.0", "six")
    built = prepare(spec, store=store, report=said.append)
    why = "tabulate 0.9.0 is from 2022-10-06, later than 2021-09-01"
    assert built.notes == (why,)
    assert f"resolving 2 requirements as of today: {why}" in said
    assert built.packages["six"] != "1.16.0"
    assert prepare(spec, store=store).notes == (why,)  # also when it is reused


def test_an_index_without_upload_times_means_today_and_a_line_that_says_so(
    interpreter: Find, store: EnvStore, plain_index: str
) -> None:
    spec = as_of_2021(interpreter("3.9").version, f"--index-url {plain_index}", "apple")
    built = prepare(spec, store=store)
    assert built.packages == {"apple": "2.0"}
    assert built.notes == ("the package index gives no upload times",)


def test_the_best_version_of_all_indexes_is_taken_as_pip_does(
    interpreter: Find, store: EnvStore, plain_index: str, wheels: Path
) -> None:
    lines = (f"--index-url {wheels.parent.as_uri()}/none", f"--extra-index-url {plain_index}")
    spec = as_of_2021(interpreter("3.9").version, *lines, "apple<2", as_of="today")
    assert prepare(spec, store=store).packages == {"apple": "1.0"}


def test_an_explicit_date_and_today(interpreter: Find, store: EnvStore) -> None:
    version = interpreter("3.9").version
    spec = as_of_2021(version, "six", as_of="2020-05-20")
    assert prepare(spec, store=store).packages == {"six": "1.14.0"}
    # six 1.15.0 was uploaded on 2020-05-21: the bound is the end of the day.
    spec = as_of_2021(version, "six", as_of="2020-05-21")
    assert prepare(spec, store=store).packages == {"six": "1.15.0"}
    spec = as_of_2021(version, "six<1.16", as_of="today")
    assert prepare(spec, store=store).packages == {"six": "1.15.0"}


def test_markers_extras_and_constraints_count(
    interpreter: Find, store: EnvStore, tmp_path: Path
) -> None:
    (tmp_path / "limits.txt").write_text("idna<3\n")
    spec = as_of_2021(
        interpreter("3.9").version,
        'six==1.15.0 ; python_version >= "3"',
        'tabulate ; python_version < "3"',
        "requests[socks]==2.25.1",
        "-c limits.txt",
        base_dir=tmp_path,
    )
    packages = prepare(spec, store=store).packages
    assert packages["six"] == "1.15.0"
    assert "tabulate" not in packages
    assert "pysocks" in packages
    assert packages["idna"].startswith("2.")


def test_a_hash_in_the_requirements_is_held_to(interpreter: Find, store: EnvStore) -> None:
    version = interpreter("3.9").version
    right = "8b74bedcbbbaca38ff6d7491d76f2b06b3592611af620f8426e82dddb04a5ced"
    good = as_of_2021(version, f"six==1.15.0 --hash=sha256:{right}")
    assert prepare(good, store=store).packages == {"six": "1.15.0"}
    bad = as_of_2021(version, f"six==1.15.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(EnvError, match=r"the hash of six==1\.15\.0 is not the expected one"):
        prepare(bad, store=store)


def test_git_requirements_are_installed(interpreter: Find, store: EnvStore, tmp_path: Path) -> None:
    """From a repository on this disk: no other is reachable everywhere."""
    source = tmp_path / "repository"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "fig"\nversion = "3.1"\n'
    )
    (source / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(d, c=None, m=None):\n"
        "    with zipfile.ZipFile(d + '/fig-3.1-py3-none-any.whl', 'w') as z:\n"
        "        z.writestr('fig.py', '')\n"
        "        z.writestr('fig-3.1.dist-info/METADATA',\n"
        "                   'Metadata-Version: 2.1\\nName: fig\\nVersion: 3.1\\n')\n"
        "        z.writestr('fig-3.1.dist-info/WHEEL',\n"
        "                   'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        z.writestr('fig-3.1.dist-info/RECORD', '')\n"
        "    return 'fig-3.1-py3-none-any.whl'\n"
    )
    git = ["git", "-C", str(source), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "fig"], ["tag", "v3.1"]):
        subprocess.run([*git, *arguments], check=True)
    spec = as_of_2021(interpreter("3.9").version, f"fig @ git+{source.as_uri()}@v3.1", "six")
    built = prepare(spec, store=store)
    assert built.packages == {"fig": "3.1", "six": "1.16.0"}


def test_offline_uses_the_cache_or_says_what_is_missing(
    old: Environment, interpreter: Find, store: EnvStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old.packages["tabulate"] == "0.8.9"  # so uv's cache has it
    spec = as_of_2021(interpreter("3.7").version, "tabulate==0.8.9")
    assert prepare(spec, store=store, offline=True).packages == {"tabulate": "0.8.9"}
    monkeypatch.setenv("LAUNCHER_OFFLINE", "1")
    with pytest.raises(EnvError, match="texttable") as caught:
        prepare(as_of_2021(interpreter("3.7").version, "texttable==1.6.4"), store=store)
    assert caught.value.hint
    assert "wheelhouse" in caught.value.hint


def test_an_index_that_does_not_answer_is_not_taken_for_a_missing_day(
    interpreter: Find, store: EnvStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    said: list[str] = []
    spec = as_of_2021(interpreter("3.9").version, "-i http://127.0.0.1:9/simple", "six")
    with pytest.raises(EnvError) as caught:
        prepare(spec, store=store, report=said.append)
    assert caught.value.hint
    assert "Check the network" in caught.value.hint
    assert said == ["resolving 1 requirement as of 2021-09-01"]


def test_requirements_that_contradict_each_other_are_named_on_both_sides() -> None:
    """Row D13; the words are those of uv."""
    said = """error: No solution found when resolving dependencies
  cause: Because pandas==2.2.3 depends on numpy>=1.23.2 and you require pandas==2.2.3, we can
         conclude that you require numpy>=1.23.2.
         And because you require numpy==1.19.5, we can conclude that your requirements are
         unsatisfiable.
"""
    assert reason(said) == (
        "pandas==2.2.3 depends on numpy>=1.23.2 and you require pandas==2.2.3; and "
        "you require numpy==1.19.5"
    )
    long = " ".join(f"And because step {number}, we can conclude that." for number in range(9))
    assert reason(long) == "step 0; and step 1; and step 2; and step 8"
