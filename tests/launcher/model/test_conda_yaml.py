"""conda.yaml as conda reads it, and the environment that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.commands.environment import EnvironmentOptions, environment_spec
from launcher.engines.scoring_server import ScoringServer
from launcher.errors import ModelError
from launcher.model.conda_yaml import CondaEnvironment, read_conda_environment
from launcher.model.mlmodel import read_model

MLMODEL = """
mlflow_version: 2.10.2
utc_time_created: '2024-02-01 12:00:00'
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a model with this conda.yaml (None: without one) and other files."""

    def model(conda: str | None, **files: str) -> Path:
        (tmp_path / "MLmodel").write_text(MLMODEL)
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        if conda is not None:
            (tmp_path / "conda.yaml").write_text(conda)
        return tmp_path

    return model


def read(path: Path) -> CondaEnvironment:
    return read_conda_environment(read_model(path).requirements)


def test_what_mlflow_writes(write: Write) -> None:
    path = write(
        "name: mlflow-env\nchannels: [defaults, conda-forge]\ndependencies:\n- python=3.7.16\n"
        "- scikit-learn=0.23.2\n- pip\n- pip:\n  - mlflow\n  - cloudpickle==1.6.0\n"
    )
    assert read(path) == CondaEnvironment(
        channels=("defaults", "conda-forge"),
        python="=3.7.16",
        specs=("scikit-learn=0.23.2", "pip"),
        pip=("mlflow", "cloudpickle==1.6.0"),
    )


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("python=3.7.16", "=3.7.16"),
        ("python >=3.8,<3.11", " >=3.8,<3.11"),
        ("python==3.11.7", "==3.11.7"),
        ("python", "3.11.7"),
        ("Python=3.9", "=3.9"),
        ("python-dateutil", "3.11.7"),
    ],
)
def test_the_version_of_python(write: Write, line: str, python: str) -> None:
    assert read(write(f"channels: [conda-forge]\ndependencies: ['{line}']\n")).python == python


def test_a_file_without_channels_has_condas(write: Write) -> None:
    assert read(write("dependencies: [pip]\n")).channels == ("defaults",)


def test_a_model_without_the_file(write: Write) -> None:
    path = write(None, **{"requirements.txt": "numpy==1.26.4\n"})
    assert read(path) == CondaEnvironment(("conda-forge",), "3.11.7", ("pip",), ("numpy==1.26.4",))


@pytest.mark.parametrize("field", ["channels", "dependencies"])
def test_what_is_no_list(write: Write, field: str) -> None:
    with pytest.raises(ModelError, match=f"{field} is not a list"):
        read(write(f"{field}: text\n"))


def test_the_spec_of_the_environment(write: Write) -> None:
    path = write(
        "channels: [conda-forge]\ndependencies: [python=3.11.7, pip, mlflow-skinny, {pip: [six]}]\n"
    )
    options = EnvironmentOptions(env_manager="conda", install_mlflow=True)
    spec = environment_spec(read_model(path), options, ScoringServer())
    assert spec.env_manager == "conda"
    assert spec.requirements == ("six",)  # conda's mlflow-skinny will do
    assert spec.conda_dependencies == ("pip", "mlflow-skinny")
    assert spec.build_requirements == ()
    assert "flask>=1.0" in spec.server_requirements
    assert spec.lockfile is None
    (path / "conda-lock.yml").write_text("version: 1\n")
    assert (
        environment_spec(read_model(path), options, ScoringServer()).lockfile
        == path / "conda-lock.yml"
    )


def test_mlflow_is_added_where_no_section_has_it(write: Write) -> None:
    path = write("channels: [conda-forge]\ndependencies: [python=3.11.7, pip]\n")
    options = EnvironmentOptions(env_manager="conda", install_mlflow=True)
    assert environment_spec(read_model(path), options, ScoringServer()).requirements == (
        "mlflow==2.10.2",
    )
