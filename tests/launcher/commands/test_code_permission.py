"""MLFLOW_ALLOW_MODEL_CODE_EXECUTION: no model is loaded where it says so, whatever serves it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scoring_server.config import ServerConfig
from scoring_server.errors import ModelLoadError
from scoring_server.model.loading import load_model
from tests.launcher.launcher_process import ObedientModel
from tests.scoring_server.serving_process import write_config

Run = Callable[..., subprocess.CompletedProcess[str]]

SWITCH = "MLFLOW_ALLOW_MODEL_CODE_EXECUTION"


@pytest.mark.parametrize(
    "command",
    [("serve", "--enable-mlserver"), ("predict",),
     *(pytest.param(("serve", *more), marks=pytest.mark.slow)
       for more in ((), ("--dry-run",), ("--detach",)))],
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
def test_who_loads_the_model_looks_too(
    tmp_path: Path, flavor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path / "m")
    content = json.loads(path.read_text())
    content["model"]["flavor"] = flavor
    path.write_text(json.dumps(content))
    monkeypatch.setenv(SWITCH, "false")
    with pytest.raises(ModelLoadError, match=f"{SWITCH} forbids models") as refused:
        load_model(ServerConfig.read(str(path)))
    assert refused.value.hint == f"Set {SWITCH}=true if you trust the model."


def test_the_deprecated_one_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    load_model(ServerConfig.read(str(write_config(tmp_path / "m"))))
    assert f"deprecated by MLflow 3.18 for {SWITCH}" in caplog.text
