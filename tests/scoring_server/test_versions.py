"""The scoring server's own tests under the oldest and a new CPython, beside the running one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.scoring_server.environments import MINIMAL, build

pytestmark = pytest.mark.slow

UNIT = Path(__file__).parent / "unit"


@pytest.mark.parametrize(
    ("version", "more"),
    [("3.7", ["pyarrow"]), ("3.13", ["pyarrow", "orjson"]), ("3.9", ["pandas<1.5", "numpy<1.24"])],
)
def test_unit_tests_pass(version: str, more: list[str], launcher_home: Path) -> None:
    python = build(launcher_home, version, MINIMAL + more)
    # Without the project's pytest settings and conftest, which need the launcher's Python.
    arguments = [
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
        f"--rootdir={UNIT}", f"--confcutdir={UNIT}", str(UNIT),
    ]  # fmt: skip
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
