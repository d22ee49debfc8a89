"""Keywords and options are the same, and a wrong one is told."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import launcher
from launcher.api import keywords
from launcher.api.arguments import command_line, keywords_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("serve", keywords.ServeKeywords),
        ("predict", keywords.PredictKeywords),
        ("prepare-env", keywords.PrepareEnvKeywords),
    ],
)
def test_every_option_is_a_typed_keyword(command: str, typed: type) -> None:
    assert set(keywords_of(command)) == set(typed.__annotations__)


def test_keywords_become_the_words_of_a_command_line() -> None:
    given = {
        "port": 0, "access_log": True, "page": False, "preload": None, "python_downloads": False,
        "cors_origin": ["https://a", "https://b"], "wheelhouse": Path("wheels"), "offline": False,
    }  # fmt: skip
    assert command_line("serve", Path("iris"), given) == [
        *("serve", "--model-uri=iris", "--port=0", "--access-log", "--no-page"),
        *("--no-python-downloads", "--cors-origin=https://a", "--cors-origin=https://b"),
        "--wheelhouse=wheels",
    ]
    given = {"env": {"A": "1=2"}, "pip_requirements_override": ["pandas==2.2.3", "scipy"]}
    assert command_line("predict", "models:/iris@champion", given) == [
        *("predict", "--model-uri=models:/iris@champion", "--env=A=1=2"),
        "--pip-requirements-override=pandas==2.2.3,scipy",
    ]


def test_a_wrong_keyword_is_a_type_error_that_names_the_near_one() -> None:
    with pytest.raises(TypeError, match=r"^serve\(\) got an unexpected .*'prot'. .*'port'\?$"):
        launcher.serve("iris", prot=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^prepare_env\(\) .*'download'"):
        launcher.prepare_env("iris", download="wheels")  # type: ignore[call-arg]


def test_the_package_is_imported_without_any_of_it() -> None:
    code = "import launcher, sys; print(*(n for n in sys.modules if n.startswith('launcher.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert set(launcher.__all__) <= set(dir(launcher))
    assert all(getattr(launcher, name).__doc__ for name in launcher.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = launcher.nothing


def test_the_wheel_has_the_types_and_the_plugin(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
        (points,) = (name for name in names if name.endswith("/entry_points.txt"))
        assert "launcher/py.typed" in names
        assert "[pytest11]\nlauncher = launcher.api.pytest_plugin" in wheel.read(points).decode()


USES = """
import launcher

async def main() -> None:
    with launcher.serve("models:/iris@champion", port=0, workers="auto") as server:
        reveal_type(server.url)
    async with launcher.aserve("iris", preload=False) as other:
        await other.apredict([1], params={"k": 1})
    reveal_type(launcher.prepare_env("iris", install_mlflow=True).python)

launcher.serve("iris", prot=0)
launcher.serve("iris", port="abc")
launcher.predict("iris", [1], workers=2)
"""


@pytest.mark.slow
def test_type_checkers_see_what_the_package_has(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is of the extra dev: pip install -e '.[dev]'")
    (tmp_path / "uses.py").write_text(USES)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "uses.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if ": error:" in line or "Revealed" in line]
    expected = ["str", "Path", '"prot"', '"port"', '"workers"']
    assert len(told) == len(expected), done.stdout
    assert all(word in line for word, line in zip(expected, told, strict=True)), done.stdout
