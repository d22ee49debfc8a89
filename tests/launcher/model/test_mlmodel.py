"""Reading model folders: the real ones, and what can be wrong with one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from launcher.errors import ModelError
from launcher.model.mlmodel import read_model
from launcher.model.requirements import parse_conda_requirement

MINIMAL = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"


def write_model(folder: Path, mlmodel: str = MINIMAL, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(mlmodel)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def test_a_model_of_mlflow_1_10_has_its_python_and_requirements_from_conda_yaml(
    real_models: Path,
) -> None:
    model = read_model(real_models / "mlflow-1.10.0-sklearn")
    assert model.requirements.python == "3.7.16"
    assert model.requirements.lines == ("scikit-learn==0.23.2", "mlflow", "cloudpickle==1.6.0")
    assert model.created == datetime(2020, 9, 1, 12, tzinfo=timezone.utc)
    assert model.mlflow_version is None
    assert model.signature is not None
    assert [column["name"] for column in model.signature["inputs"]] == ["sl", "sw", "pl", "pw"]
    assert model.example["dataframe_split"]["data"][0] == [5.1, 3.5, 1.4, 0.2]


def test_a_model_of_mlflow_3_has_them_from_python_env_yaml(real_models: Path) -> None:
    model = read_model(real_models / "mlflow-3.0.1-sklearn")
    assert model.requirements.python == "3.12.1"
    assert model.requirements.lines == ("-r requirements.txt",)
    assert model.requirements.build == ("pip==25.1.1", "setuptools==80.9.0", "wheel")
    assert model.mlflow_version == "3.0.1"
    assert model.uuid == "878e8eb2074044acafe460ee9ef8de99"


def test_requirements_txt_comes_before_the_pip_section_of_conda_yaml(tmp_path: Path) -> None:
    conda = "dependencies: [python=3.9.18, pip<=22, {pip: [old==1]}]\n"
    folder = write_model(tmp_path / "m", conda__yaml=conda, requirements__txt="new==2\n")
    wanted = read_model(folder).requirements
    assert (wanted.python, wanted.lines, wanted.build) == ("3.9.18", ("new==2",), ("pip<=22",))


@pytest.mark.parametrize("name", ["MLmodel", "conda.yaml"])
def test_aliases_that_multiply_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    bomb = ["a0: &a0 [x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (folder / name).write_text("\n".join([MINIMAL, *bomb]))
    with pytest.raises(ModelError, match="YAML nodes"):
        read_model(folder)


def test_requirements_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "requirements.txt").write_bytes(b"numpy\n\xff")
    with pytest.raises(ModelError, match="it is not UTF-8"):
        read_model(folder)


def test_conda_packages_that_are_not_python_are_named_in_a_note(tmp_path: Path) -> None:
    conda = "dependencies: [python=3.9, cudatoolkit=11.3, pytorch=1.12.1]\n"
    wanted = read_model(write_model(tmp_path / "m", conda__yaml=conda)).requirements
    assert wanted.lines == ("torch==1.12.1",)
    assert "cudatoolkit=11.3" in wanted.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scikit-learn=0.23.2", ("scikit-learn", "==0.23.2")),
        ("numpy=1.19", ("numpy", "==1.19.*")),
        ("numpy=1.19.1=py37h5f4d4ac_0", ("numpy", "==1.19.1")),
        ("numpy==1.19.1=py37h5f4d4ac_0", ("numpy", "==1.19.1")),
        ("conda-forge::pandas>=1.0,<2", ("pandas", ">=1.0,<2")),
        ("scipy 1.5.*", ("scipy", "==1.5.*")),
        ("pip", ("pip", "")),
        ("Keras *", ("keras", "")),
    ],
)
def test_conda_match_specifications(text: str, expected: tuple[str, str]) -> None:
    assert parse_conda_requirement(text) == expected


@pytest.mark.parametrize(
    ("mlmodel", "words"),
    [
        ("a: [1", ["MLmodel is not YAML", "line 2"]),
        ("- a\n- b\n", ["not a YAML mapping"]),
        ("run_id: abc\n", ["lists no flavors"]),
        ("flavors: {keras: {}, spark: {}}\n", ["no python_function flavor", "keras, spark"]),
        ("flavors: {keras: {}, on: {}}\n", ["no python_function flavor", "True, keras"]),
        ("flavors: {python_function: {}}\n", ["names no loader_module"]),
        ("flavors: {python_function: yes}\n", ["python_function is not a mapping"]),
        (MINIMAL + "signature: {inputs: '[{'}\n", ["signature cannot be read"]),
        (MINIMAL + "    data: ../../etc\n", ["data", "points outside the model folder"]),
        (MINIMAL + '    data: "a\\0b"\n', ["data", "points outside the model folder"]),
        (MINIMAL + '    env: "a\\0b"\n', ["lies outside the model folder"]),
        (MINIMAL + "    env: ../conda.yaml\n", ["lies outside the model folder"]),
    ],
)
def test_what_is_wrong_with_an_mlmodel_is_said(
    tmp_path: Path, mlmodel: str, words: list[str]
) -> None:
    folder = write_model(tmp_path / "m", mlmodel)
    with pytest.raises(ModelError) as caught:
        read_model(folder)
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_folder_without_mlmodel(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no MLmodel file"):
        read_model(tmp_path)


def test_an_input_example_outside_the_model_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"columns": ["secret"], "data": [[1]]}')
    info = "saved_input_example_info: {artifact_path: ../secret.json, type: dataframe}\n"
    assert read_model(write_model(tmp_path / "m", MINIMAL + info)).example is None


def test_the_path_that_code_was_logged_from_is_no_path_in_the_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", MINIMAL + "    model_code_path: /home/me/model.py\n")
    assert read_model(folder).pyfunc["model_code_path"] == "/home/me/model.py"


def test_a_damaged_input_example_does_not_stop_a_model(tmp_path: Path) -> None:
    info = "saved_input_example_info: {artifact_path: example.json, type: dataframe}\n"
    folder = write_model(tmp_path / "m", MINIMAL + info, example__json='{"columns": [')
    assert read_model(folder).example is None
    (folder / "example.json").write_text("[" * 100_000)
    assert read_model(folder).example is None
    with (folder / "example.json").open("w") as file:
        file.truncate(1 << 40)  # it takes no disk, and would take all memory
    assert read_model(folder).example is None
    (folder / "example.json").write_text(json.dumps({"columns": ["a"], "data": [[1]]}))
    assert read_model(folder).example == {"dataframe_split": {"columns": ["a"], "data": [[1]]}}
