"""The loaders that do without MLflow, against MLflow's own on the same models."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SCRIPTS, script_environment
from environments import build

from launcher.mlmodel import read_model
from launcher.server_config import server_config, write_json

pytestmark = pytest.mark.slow

LIBRARIES = [
    "mlflow>=3.10", "flask", "gunicorn", "scikit-learn", "skops", "lightgbm", "xgboost-cpu",
    "catboost", "statsmodels", "onnx", "onnxruntime",
]  # fmt: skip

Score = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def score(launcher_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Answers each model's request with the models loaded in one of the two ways."""
    # A Python that all of the libraries have wheels for.
    python = build(launcher_home, "3.11", LIBRARIES)
    folder = launcher_home / "test-models" / f"flavors-{Path(python).parents[1].name}"
    environ = script_environment(launcher_home)
    arguments = [python, str(SCRIPTS / "log_flavors.py"), str(folder)]
    subprocess.run(arguments, check=True, env=environ, cwd=launcher_home)

    def run(loader: str, names: str = "*", **more: str) -> dict[str, Any]:
        configs = []
        place = tmp_path_factory.mktemp("configs")
        for path in sorted(folder.glob(names)):
            configs.append(str(place / f"{path.name}.json"))
            content = server_config(
                read_model(path), uri=path.name, environment={}, server={"loader": loader}
            )
            write_json(Path(configs[-1]), content)
        done = subprocess.run(
            [python, str(SCRIPTS / "score_flavors.py"), *configs],
            check=True, stdout=subprocess.PIPE, env={**environ, **more}, cwd=launcher_home,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


def test_every_flavor_answers_as_when_mlflow_loads_it(score: Score) -> None:
    direct, oracle = score("auto"), score("mlflow")
    assert len(oracle) == 17
    assert {name: each.get("answer") for name, each in direct.items()} == {
        name: each["answer"] for name, each in oracle.items()
    }
    assert not [name for name, each in direct.items() if each["mlflow"]]
    assert all(each["mlflow"] for each in oracle.values())


@pytest.mark.parametrize("names", ["sklearn_*", "lightgbm_classifier", "statsmodels_ols"])
def test_what_runs_code_when_read_is_refused_like_in_mlflow(score: Score, names: str) -> None:
    switched_off = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    direct, oracle = score("auto", names, **switched_off), score("mlflow", names, **switched_off)
    assert direct.keys() == oracle.keys()
    for name, each in direct.items():
        assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in each["refused"], name
        assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION=true" in each["hint"], name
        assert "refused" in oracle[name]


@pytest.mark.parametrize("names", ["xgboost_booster", "catboost_plain", "onnx_tensor"])
def test_other_files_are_read_where_pickles_are_refused(score: Score, names: str) -> None:
    found = score("auto", names, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false")
    assert "answer" in found[names]
