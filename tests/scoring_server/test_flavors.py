"""The loaders that do without MLflow, against MLflow's own on the same models."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.building.context import Context
from envs.building.interpreters import find_interpreter
from envs.disk.files import write_json
from launcher.engines.server_config import server_config
from launcher.model.mlmodel import read_model
from tests.scoring_server.environments import build, logged_models
from tests.scoring_server.serving_process import SCRIPTS, script_environment

pytestmark = pytest.mark.slow

LIBRARIES = [
    "mlflow>=3.10", "flask", "gunicorn", "scikit-learn", "skops", "lightgbm", "xgboost-cpu",
    "catboost", "statsmodels", "onnx", "onnxruntime",
]  # fmt: skip

PYTORCH = "torch==2.13.0"

Score = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def python(launcher_home: Path) -> str:
    """The interpreter of an environment with all flavors but PyTorch."""
    # A Python that all of the libraries have wheels for.
    return build(launcher_home, "3.11", LIBRARIES)


@pytest.fixture(scope="module")
def score(python: str, launcher_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Answers each model's request with the models loaded in one of the two ways."""
    return scoring(python, "log_flavors.py", launcher_home, tmp_path_factory)


@pytest.fixture(scope="module")
def score_pytorch(launcher_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Score:
    """The same for models of PyTorch, in an environment of its own."""
    wheel = pytorch_wheel(launcher_home / "test-wheels")
    python = build(launcher_home, "3.11", ["mlflow>=3.17", "flask", str(wheel)])
    return scoring(python, "log_pytorch.py", launcher_home, tmp_path_factory)


def pytorch_wheel(folder: Path) -> Path:
    """PyTorch for the processor alone, from pip's find-links; skips where there is none."""
    if not folder.exists():
        interpreter = find_interpreter("3.11", Context(python_downloads=False)).path
        arguments = ["download", "-q", "--no-index", "--no-deps", PYTORCH, "-d", str(folder)]
        subprocess.run([interpreter, "-m", "pip", *arguments], check=False)
    wheels = list(folder.glob("torch-*.whl"))
    if not wheels:
        pytest.skip(
            "no CPU build of PyTorch among pip's find-links (the index's is several GB): set PIP_FIND_LINKS"
        )
    return wheels[0]


def scoring(
    python: str, script: str, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Score:
    """Log models by a script of `oracle/`; the function loads and asks those with such names."""
    environ = script_environment(home)
    folder = logged_models(python, script, home, f"-{Path(script).stem}")

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
            check=True, stdout=subprocess.PIPE, env={**environ, **more}, cwd=home,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


def outcomes(found: dict[str, Any]) -> dict[str, Any]:
    """What a client would get from each model: the answer, or the status of the error."""
    return {name: each.get("answer", each.get("status")) for name, each in found.items()}


def test_every_flavor_answers_as_when_mlflow_loads_it(score: Score) -> None:
    direct, oracle = score("auto"), score("mlflow")
    assert len(oracle) == 20
    assert outcomes(direct) == outcomes(oracle)
    assert all("answer" in each for each in oracle.values())
    assert not [name for name, each in direct.items() if each["mlflow"]]
    assert all(each["mlflow"] for each in oracle.values())
    # ONNX Runtime is told what MLflow tells it.
    sessions = {name: each["session"] for name, each in direct.items()}
    assert sessions == {name: each["session"] for name, each in oracle.items()}
    assert sessions["onnx_parallel"]["execution_mode"] == "ExecutionMode.ORT_PARALLEL"
    assert sessions["onnx_sequential"]["session.intra_op.allow_spinning"] == "0"
    # Only that one waits in a fork for threads that are not there.
    assert [name for name, each in direct.items() if each["hazards"]] == ["onnx_parallel"]


def test_pytorch_answers_as_when_mlflow_loads_it(score_pytorch: Score) -> None:
    direct, oracle = score_pytorch("auto"), score_pytorch("mlflow")
    assert len(oracle) == 19
    assert outcomes(direct) == outcomes(oracle)
    for name, each in direct.items():
        assert ("status" in each) == name.startswith("wrong_"), each
        assert not each["mlflow"], name
    assert all(each["mlflow"] for each in oracle.values())
    # Threads that a fork would wait for; they live on, so that the models after it have them too.
    assert next(name for name, each in direct.items() if each["hazards"]) == "script_with_tasks"


def test_pytorch_is_on_the_device_that_is_asked_for(score_pytorch: Score) -> None:
    # The one device beside the processor that every machine has; nothing can be read back from it.
    asked = {"MLFLOW_DEFAULT_PREDICTION_DEVICE": "meta"}
    asked_first = {
        "MLFLOW_DEFAULT_PREDICTION_DEVICE": "cpu",
        "SERVING_MODEL_CONFIG": json.dumps({"device": "meta"}),
    }
    direct = score_pytorch("auto", "columns", **asked)
    assert "meta" in direct["columns"]["message"]
    direct = score_pytorch("auto", "[ce]*[sd]", **asked_first)
    oracle = score_pytorch("mlflow", "[ce]*[sd]", **asked_first)
    for found in (direct, oracle):
        assert sorted(found) == ["columns", "exported"]
        assert "meta" in found["columns"]["message"]
        # Its tensors are where they were when it was exported.
        assert "meta" in found["exported"]["refused"]
    assert outcomes(direct) == outcomes(oracle)


def test_pytorch_that_runs_code_when_read_is_refused_like_in_mlflow(score_pytorch: Score) -> None:
    switched_off = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    direct = score_pytorch("auto", "[ces]*", **switched_off)
    # What is in an exported file is looked at first, by MLflow: it answers here as well.
    exported = direct.pop("exported")
    assert exported["mlflow"]
    assert "answer" in exported
    oracle = score_pytorch("mlflow", "[cs]*", **switched_off)
    assert sorted(direct) == sorted(oracle)
    for name, each in direct.items():
        assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in each["refused"], name
        assert "refused" in oracle[name], name


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
