"""The script that logs the models of the folder ``fixtures/models`` logs the same again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launcher.launcher_process import run_to_end

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# The oldest release whose logging needs no Python that is hard to have.
RELEASE = "1.20.2"


def without_ids(path: Path) -> str:
    """A file's text without what is another one each time."""
    return re.sub(r"^(model_uuid|model_size_bytes|run_id): .*$", "", path.read_text(), flags=re.M)


@pytest.mark.slow
def test_a_release_logs_its_models_again(tmp_path: Path) -> None:
    script = FIXTURES / "log_models.py"
    subprocess.run([sys.executable, script, tmp_path, RELEASE], cwd=tmp_path, check=True)
    kept = sorted(path for path in (FIXTURES / "models").iterdir() if f"-{RELEASE}-" in path.name)
    logged = sorted(path for path in tmp_path.iterdir() if path.name.startswith("mlflow-"))
    assert [path.name for path in logged] == [path.name for path in kept]
    assert len(kept) == 2
    for ours, theirs in zip(kept, logged, strict=True):
        assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
        for path in ours.iterdir():
            if path.suffix != ".pkl":
                assert without_ids(theirs / path.name) == without_ids(path), path
    rows = tmp_path / "rows.csv"
    rows.write_text("sl,sw,pl,pw\n5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n")
    answers = [
        run_to_end("predict", "-m", folder / f"mlflow-{RELEASE}-sklearn", "-i", rows)
        for folder in (FIXTURES / "models", tmp_path)
    ]
    assert [answer.returncode for answer in answers] == [0, 0], answers
    assert answers[0].stdout == answers[1].stdout
    assert "0" in answers[0].stdout
