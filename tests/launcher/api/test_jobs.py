"""Predictions without a server, and environments: the commands, with values in and out."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

import launcher
from tests.launcher.api.scripts import NOTEBOOK, read_line, run_script, say
from tests.launcher.launcher_process import LONGEST, ObedientModel, wait_until_gone

FRAME = pd.DataFrame({"a": [1.5, None], "b": ["x", "ü"]})


def test_values_are_scored_without_a_server(echo: Path) -> None:
    pd.testing.assert_frame_equal(launcher.predict(echo, FRAME, env_manager="local"), FRAME)


def test_a_file_is_scored_into_a_file(echo: Path, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    options: launcher.api.keywords.PredictKeywords = {"env_manager": "local"}
    assert launcher.predict(
        echo, tmp_path / "rows.csv", output_path=tmp_path / "out.csv", **options
    ) is None  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), FRAME)


def test_bad_usage_is_told(echo: Path, tmp_path: Path) -> None:
    with pytest.raises(launcher.UsageError, match="output_format is that of a file"):
        launcher.predict(echo, [1], output_format="csv")
    with pytest.raises(launcher.UsageError, match="Params go with values"):
        launcher.predict(echo, "rows.csv", params={"a": 1})
    with pytest.raises(launcher.UsageError, match="is not a file"):
        launcher.predict(echo, tmp_path / "rows.csv", env_manager="local")


def test_a_prediction_that_fails_is_the_error_of_the_command_line(obedient: ObedientModel) -> None:
    with pytest.raises(launcher.UsageError, match="raised ValueError: told to"):
        launcher.predict(obedient.path, [{"command": "raise"}], env_manager="local")


def test_an_environment_is_a_value(iris: Path, tmp_path: Path) -> None:
    prepared = launcher.prepare_env(iris, env_manager="local")
    assert prepared.python == Path(sys.executable)
    assert prepared.path == Path(sys.prefix)
    assert len(prepared.key) == 20
    with pytest.raises(launcher.EnvironmentBuildError) as caught:
        launcher.prepare_env(iris, wheelhouse=tmp_path, as_of="2026-11-20")
    assert caught.value.exit_code == 3


@pytest.mark.slow
def test_an_interrupt_ends_what_is_under_way(obedient: ObedientModel) -> None:
    notebook = run_script(obedient, NOTEBOOK)
    obedient.hold("load")
    say(notebook, "launcher.predict(sys.argv[1], [{'command': 'x'}], env_manager='local')")
    obedient.wait_until_held("load")
    family = psutil.Process(notebook.pid).children(recursive=True)
    os.killpg(notebook.pid, signal.SIGINT)
    assert read_line(notebook) == "interrupted"
    wait_until_gone(family)
    notebook.communicate(timeout=LONGEST)
