"""Models on this machine's disk: paths and `file:` URIs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.artifacts import ModelURIError, resolve_model


def save_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: m\n")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "my models" / "100% #1 ü")


def test_a_folder_with_spaces_is_found_by_absolute_and_relative_path_and_tilde(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in (
        str(model),
        "my models/100% #1 ü/",
        "./my models/100% #1 ü",
        f"~/{model.parent.name}/../my models/{model.name}",
    ):
        assert resolve_model(uri).path == model


def test_file_uris_are_percent_decoded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "%20" in model.as_uri()
    monkeypatch.chdir(tmp_path)
    encoded = model.as_uri()[len("file://") :]
    for uri in (
        f"file://{encoded}",
        f"file:{encoded}",
        f"file://localhost{encoded}",
        f"FILE://{encoded}",
        "file:my%20models/100%25%20%231%20%C3%BC",
    ):
        found = resolve_model(uri)
        assert found.path == model
        assert found.uri == uri


def test_a_colon_in_an_existing_path_is_no_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "run:12")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("run:12").path == model


def test_a_file_uri_of_another_machine_is_refused(model: Path) -> None:
    with pytest.raises(ModelURIError, match="'elsewhere'") as error:
        resolve_model(f"file://elsewhere{model}")
    assert "file:///" in error.value.hint


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelURIError, match="no folder") as error:
        resolve_model("modle")
    assert str(tmp_path) in error.value.hint
    assert error.value.exit_code == 2


def test_the_home_of_an_unknown_user() -> None:
    with pytest.raises(ModelURIError, match="unknown user"):
        resolve_model("~no-such-user-here/model")


def test_the_file_mlmodel_itself_gets_told_its_folder(model: Path) -> None:
    with pytest.raises(ModelURIError, match="is a file") as error:
        resolve_model(str(model / "MLmodel"))
    assert str(model) in error.value.hint


def test_a_folder_without_mlmodel_names_the_models_in_it(tmp_path: Path) -> None:
    save_model(tmp_path / "a" / "artifacts" / "model")
    with pytest.raises(ModelURIError, match="no file MLmodel") as error:
        resolve_model(str(tmp_path))
    assert "'a/artifacts/model'" in error.value.hint
    for number in range(10):
        save_model(tmp_path / f"m{number}")
    with pytest.raises(ModelURIError) as error:
        resolve_model(str(tmp_path))
    assert "m0, m1, m2" in error.value.hint
    assert "3 more" in error.value.hint


def test_an_empty_folder_has_no_models_to_name(tmp_path: Path) -> None:
    with pytest.raises(ModelURIError, match="no file MLmodel") as error:
        resolve_model(str(tmp_path))
    assert "save_model" in error.value.hint


def test_an_unknown_scheme_names_what_is_supported() -> None:
    with pytest.raises(ModelURIError, match="'gopher:'") as error:
        resolve_model("gopher://host/model")
    assert "models:/, mlflow-artifacts:/, s3://" in error.value.hint


def test_the_revision_changes_with_the_files(model: Path) -> None:
    before = resolve_model(str(model))
    assert resolve_model(str(model)) == before
    os.utime(model / "MLmodel", (1, 1))
    touched = resolve_model(str(model))
    assert touched.revision != before.revision
    (model / "model.pkl").write_bytes(b"x")
    assert resolve_model(str(model)).revision != touched.revision


def test_a_local_path_imports_nothing_slow(model: Path) -> None:
    code = (
        "import sys\n"
        "from launcher.artifacts import resolve_model\n"
        "resolve_model(sys.argv[1])\n"
        "print(sorted({'requests', 'fsspec', 'sqlite3', 'zipfile', 'tarfile', 'http.client',\n"
        "              'filelock', 'asyncio'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_bytecode_of_the_model_s_code_is_no_other_revision(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    before = resolve_model(str(tmp_path)).revision
    (tmp_path / "code" / "__pycache__").mkdir()
    (tmp_path / "code" / "__pycache__" / "loader.cpython-311.pyc").write_bytes(b"x")
    assert resolve_model(str(tmp_path)).revision == before
    (tmp_path / "code" / "loader.py").write_text("x = 1\n")
    assert resolve_model(str(tmp_path)).revision != before


def test_a_local_folder_that_is_too_large_is_refused(model: Path) -> None:
    (model / "data").write_bytes(bytes(20_000))
    with pytest.raises(ModelURIError, match=r"larger than the allowed 10 kB"):
        resolve_model(str(model), max_model_size=10_000)
    assert resolve_model(model.as_uri(), max_model_size=30_000).path == model


@pytest.mark.parametrize("uri", ["a\0b", "file:///a%00b", "n" * 300, "n/" * 3000, "~nobody-here/x"])
def test_a_path_that_cannot_be_is_said(uri: str) -> None:
    with pytest.raises(ModelURIError) as error:
        resolve_model(uri)
    assert "\n" not in error.value.message


def test_a_link_in_a_circle_is_said(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("l")
    with pytest.raises(ModelURIError, match="no folder"):
        resolve_model(str(tmp_path / "l"))


def test_a_run_without_a_folder_of_its_own_has_no_such_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run of MLflow 3 whose models are all logged models."""
    run = tmp_path / "mlruns" / "0" / ("5" * 32)
    run.mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '0'\nname: Default\n")
    artifacts = run / "artifacts"
    (run / "meta.yaml").write_text(f"run_id: '{run.name}'\nartifact_uri: {artifacts}\nstatus: 3\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(run.parents[1]))
    with pytest.raises(ModelURIError) as error:
        resolve_model(f"runs:/{run.name}/iris")
    assert "iris" in error.value.message
    assert error.value.hint == "The run has no models."
