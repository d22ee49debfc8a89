"""A fuzz run over the request path: a minute here, as long as FUZZ_SECONDS says elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scoring_server.environments import build

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))


@pytest.mark.skipif(sys.platform != "linux", reason="atheris has wheels for Linux only")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="atheris has no wheel for this Python")
def test_no_request_fails_hangs_or_leaks(launcher_home: Path, tmp_path: Path) -> None:
    requirements = ["atheris", "numpy", "pandas", "flask", "pyarrow", "orjson"]
    python = build(launcher_home, None, requirements)
    script = str(HERE / "fuzzing" / "fuzz_server.py")
    done = subprocess.run(
        [python, script, str(tmp_path), f"-max_total_time={SECONDS}"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None, done.stderr[-2000:]
    assert int(runs.group(1)) > 1000
