"""What a model is called where a protocol's paths have its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.artifacts import ModelSource
from launcher.commands.model_opening import describe_model, identity_of
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


def test_a_person_reads_the_registry_s_name_version_and_alias(
    model: Model, launcher_home: Path
) -> None:
    """Row D2 of ROBUSTNESS.md: never the name of a folder in the cache of downloads."""
    path = fetched(launcher_home)
    source = ModelSource("models:/plants@best", path, "plants", "3")
    found = identity_of(source, model, "served")
    assert (found.name_of(model), found.title_of(model)) == ("plants", "plants 3 @best")
    assert describe_model(model, found).startswith("model plants 3 @best: ")
    nameless = model._replace(name=None, path=path)
    assert identity_of(ModelSource("runs:/1f/iris", path), nameless, None).title_of(nameless) == (
        "iris"
    )
