"""MLFLOW_ALLOW_MODEL_CODE_EXECUTION: no model is loaded where it says so, whatever serves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import ObedientModel
from tests.scoring_server.serving_process import ROOT, write_config

Run = Callable[..., subprocess.CompletedProcess[str]]

SWITCH = "MLFLOW_ALLOW_MODEL_CODE_EXECUTION"


@pytest.mark.parametrize(
    "command",
    [("serve",), ("serve", "--dry-run"), ("serve", "--detach"), ("serve", "--enable-mlserver"),
     ("predict",)],
    ids=" ".join,
)  # fmt: skip
def test_it_is_refused_before_anything_is_fetched_or_built(
    run: Run, command: tuple[str, ...]
) -> None:
    # Nobody answers there: it is not asked.
    uri = "http://127.0.0.1:9/m.zip"
    done = run(*command, "-m", uri, env={**os.environ, SWITCH: "False"}, input="")
    assert done.returncode == 2
    assert f"{SWITCH} forbids models" in done.stderr
    assert f"Set {SWITCH}=true if you trust the model." in done.stderr


def test_what_is_neither_true_nor_false_is_refused(run: Run, iris: Path) -> None:
    done = run("serve", "-m", iris, env={**os.environ, SWITCH: "nope"})
    assert done.returncode == 2
    assert f"{SWITCH} is 'nope', which is neither true nor false." in done.stderr


def test_the_variables_of_the_model_s_process_count(run: Run, obedient: ObedientModel) -> None:
    arguments = ("predict", "-m", obedient.path, "--env-manager", "local", "-t", "csv")
    refused = run(*arguments, "--env", f"{SWITCH}=0", input="command\nhello\n")
    assert refused.returncode == 2
    allowed = run(
        *(*arguments, "--env", f"{SWITCH}=1"),
        env={**os.environ, SWITCH: "false"},
        input="command\nhello\n",
    )
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout) == {"predictions": ["done"]}


@pytest.mark.parametrize("flavor", ["python_function", "crate"])
def test_a_server_without_a_launcher_looks_too(tmp_path: Path, flavor: str) -> None:
    config = write_config(tmp_path / "m")
    content = json.loads(config.read_text())
    content["model"]["flavor"] = flavor
    config.write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, str(ROOT / "scoring_server"), str(config), "--predict"],
        env={**os.environ, SWITCH: "false"}, input="a\n1\n", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"{SWITCH} forbids models" in done.stderr
    assert f"Set {SWITCH}=true" in done.stderr


def test_the_deprecated_one_is_named_in_the_log(run: Run, obedient: ObedientModel) -> None:
    done = run(
        *("predict", "-m", obedient.path, "--env-manager", "local", "-t", "csv"),
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        input="command\nhello\n",
    )
    assert done.returncode == 0, done.stderr
    assert f"deprecated by MLflow 3.18 for {SWITCH}" in done.stderr
