"""MLflow's switches for models that run code: its own loader beside ours, on the same models."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.scoring_server.environments import ORACLE, build, newest_mlflow
from tests.scoring_server.serving_process import SCRIPTS, script_environment

pytestmark = pytest.mark.slow

CODE, PICKLE = "MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
SETTINGS: list[dict[str, str]] = [
    {},
    *({CODE: value} for value in ("true", "1", "false", "False", "0", "maybe", "")),
    *({PICKLE: value} for value in ("true", "false", "0", "maybe")),
    {CODE: "true", PICKLE: "false"},
    {CODE: "false", PICKLE: "true"},
]


def test_what_mlflow_refuses_is_refused(launcher_home: Path, tmp_path: Path) -> None:
    python = build(launcher_home, None, ORACLE)
    environ = script_environment(launcher_home)
    environ["PYTHONPATH"] = f"{newest_mlflow(python, launcher_home)}:{environ['PYTHONPATH']}"
    done = subprocess.run(
        [python, str(SCRIPTS / "load_permitted.py"), str(tmp_path), json.dumps(SETTINGS)],
        stdout=subprocess.PIPE, env=environ, cwd=tmp_path, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    assert tuple(map(int, answer["version"].split(".")[:2])) >= (3, 18)
    differing, refused = [], 0
    for variables, found in zip(SETTINGS, answer["found"], strict=True):
        for model, (theirs, ours) in found.items():
            refused += theirs != "loaded"
            if (theirs == "loaded") != (ours == "loaded"):
                differing.append(f"{variables} {model}\n  MLflow: {theirs}\n  launcher: {ours}")
            # It names the variable that is to be set.
            assert ours == "loaded" or any(name in ours for name in variables), ours
    assert not differing, "\n".join(differing)
    # Everything, where code is forbidden; what is pickled, where that is.
    assert refused == 6 * 4 + 4 * 2
