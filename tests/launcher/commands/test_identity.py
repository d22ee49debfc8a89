"""What a model is called where a protocol's paths have its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.artifacts import ModelSource
from launcher.commands.model_opening import identity_of
from launcher.model.mlmodel import Model, read_model

IRIS = Path(__file__).parents[3] / "fixtures" / "iris"


@pytest.fixture
def model() -> Model:
    return read_model(IRIS)


def fetched(home: Path) -> Path:
    return home / "models" / "0123" / "model"


def test_a_folder_s_model_is_called_as_it_is_or_as_is_said(model: Model) -> None:
    source = ModelSource(".", IRIS)
    assert identity_of(source, model, None).names[0] == "iris"
    assert identity_of(source, model, "flowers").names == ("flowers", "iris")
    assert identity_of(source, model, None).version is None


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/1f/logged/iris",
        "s3://bucket/iris/",
        "https://host/iris.tar.gz?token=1",
        "/a/iris.zip",
    ],
)
def test_of_what_was_fetched_the_last_folder_of_the_uri_counts(
    uri: str, model: Model, launcher_home: Path
) -> None:
    source = ModelSource(uri, fetched(launcher_home))
    assert identity_of(source, model, None).names[0] == "iris"


def test_the_registry_s_name_comes_first(model: Model, launcher_home: Path) -> None:
    path = fetched(launcher_home)
    found = identity_of(ModelSource("models:/plants@best", path, "plants", "3"), model, "served")
    assert found.names[:2] == ("plants", "served")
    assert "plants@best" in found.names
    assert (found.version, found.aliases) == ("3", ("best",))
    found = identity_of(ModelSource("models:/plants/3", path, "plants", "3"), model, None)
    assert (found.version, found.aliases) == ("3", ())
    found = identity_of(ModelSource("models:/plants/Production", path, "plants", "3"), model, None)
    assert found.aliases == ("Production",)
