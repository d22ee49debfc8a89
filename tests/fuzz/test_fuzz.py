"""Coverage-guided fuzzing of every way in.

The slow tests repeat: the seed, the hashes and the number of inputs are fixed, so that a commit
fails for what it changed. What searches on is marked ``long``: ``FUZZ_SECONDS`` of each target with
a seed of its own. `README.md` beside this file says how to go on with a find.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scoring_server.environments import build

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux", reason="atheris has wheels for Linux only: run on Linux"
    ),
    pytest.mark.skipif(
        sys.version_info >= (3, 14),
        reason="atheris has no wheel for this Python: run on Python 3.13 or older",
    ),
]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "300"))
# What the targets import; the packages under test come from this checkout.
REQUIREMENTS = [
    "atheris", "numpy", "pandas", "flask", "pyarrow", "orjson",
    "click", "pyyaml", "requests", "psutil", "platformdirs", "packaging", "virtualenv", "uv",
    "filelock",
]  # fmt: skip
# Inputs that a target takes in a second or so; the slow tests give it so many times as many.
SLOW = 40
RUNS = {
    "bodies": 150,
    "control_lines": 1000,
    "http_connection": 75,
    "mlmodel": 120,
    "requirements": 225,
    "status_lines": 7500,
    "v2_requests": 150,
}
TARGETS = sorted(
    path.stem for path in (HERE / "targets").glob("*.py") if not path.stem.startswith("_")
)
# Finds that are known and not mended yet: take the line out with the mend.
KNOWN: dict[str, str] = {}
TABLE: list[str] = []


def expected(targets: list[str]) -> list[object]:
    return [
        pytest.param(
            target,
            marks=pytest.mark.xfail(reason=KNOWN[target], strict=True) if target in KNOWN else (),
        )
        for target in targets
    ]


@pytest.fixture(scope="module")
def python(launcher_home: Path) -> str:
    return build(launcher_home, None, REQUIREMENTS)


@pytest.fixture(scope="module", autouse=True)
def print_the_table(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if not TABLE:
        return
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print("\n| target | inputs without a find |", "| --- | --- |", *TABLE, sep="\n")


def fuzz(python: str, target: str, work: Path, longest: int, *options: str) -> int:
    """Run a target and return how many inputs it took; a find fails the test with its bytes."""
    done = subprocess.run(
        [python, "-m", "tests.fuzz", target, str(work), *options],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        },
        timeout=longest,
    )
    finds = [
        path.read_bytes() for path in work.iterdir() if re.match("crash-|timeout-|oom-", path.name)
    ]
    assert done.returncode == 0, f"{done.stderr[-6000:]}\nfound by {finds!r}"
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None, done.stderr[-2000:]
    return int(runs[1])


@pytest.mark.slow
@pytest.mark.parametrize("target", expected(TARGETS))
def test_the_corpus_and_some_inputs_find_nothing(python: str, target: str, tmp_path: Path) -> None:
    runs = SLOW * RUNS.get(target, 1000)
    assert fuzz(python, target, tmp_path, 240, f"-runs={runs}") >= runs


@pytest.mark.long
@pytest.mark.parametrize("target", expected(TARGETS))
def test_a_search_finds_nothing(python: str, target: str, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(3), "big")
    options = [f"-seed={seed}", f"-max_total_time={SECONDS}"]
    runs = fuzz(python, target, tmp_path, SECONDS + 120, *options)
    TABLE.append(f"| {target} | {runs:,} in {SECONDS} s, seed {seed} |")
    assert runs > RUNS.get(target, 1000) / 4


def test_every_target_has_a_corpus() -> None:
    assert sorted(path.name for path in (HERE / "corpus").iterdir()) == TARGETS
    assert all(any((HERE / "corpus" / target).iterdir()) for target in TARGETS)
