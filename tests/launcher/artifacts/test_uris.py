"""Taking URIs apart, showing them without secrets, and sizes and ages as people write them."""

from __future__ import annotations

import pytest

from launcher.artifacts import ModelURIError
from launcher.artifacts.stores.proxied import proxy_url
from launcher.artifacts.stores.web import names_in_index
from launcher.artifacts.uris import (
    RegistryURI,
    RunURI,
    join,
    parse_models_uri,
    parse_runs_uri,
    redact,
)
from launcher.quantities import format_size, parse_age
from scoring_server.container.sizes import parse_size


def test_models_uris() -> None:
    for uri, expected in (
        ("models:/a/12", RegistryURI(name="a", version="12")),
        ("models:/a b%20/1/", RegistryURI(name="a b%20", version="1")),
        ("models:/a@b@champion", RegistryURI(name="a@b", alias="champion")),
        ("models:/a/LATEST", RegistryURI(name="a")),
        ("models:/a/Production", RegistryURI(name="a", stage="Production")),
        ("models:/m-0a1b", RegistryURI(model_id="m-0a1b")),
    ):
        assert parse_models_uri(uri) == expected


@pytest.mark.parametrize(
    "uri", ["models:/", "models:a/1", "models:/a/1/b", "models://a/1", "models:/@x", "models:/a@"]
)
def test_models_uris_of_another_form_are_refused(uri: str) -> None:
    with pytest.raises(ModelURIError, match="not a models: URI") as error:
        parse_models_uri(uri)
    assert "models:/NAME@alias" in error.value.hint


def test_a_model_without_a_version_is_told_how_to_choose_one() -> None:
    with pytest.raises(ModelURIError, match="no version") as error:
        parse_models_uri("models:/iris")
    assert "models:/iris/latest" in error.value.hint


def test_runs_uris() -> None:
    assert parse_runs_uri("runs:/1a/my model/sub/") == RunURI("1a", "my model/sub")
    assert parse_runs_uri("runs:/1a") == RunURI("1a", "")
    for uri in ("runs:/1a/../2b", "runs:/1a/a//b", "runs:/1a/a\\..\\b", "runs:/1a/./b"):
        with pytest.raises(ModelURIError, match="leads out"):
            parse_runs_uri(uri)
    with pytest.raises(ModelURIError, match="not a runs: URI"):
        parse_runs_uri("runs:1a/b")


def test_secrets_are_not_shown() -> None:
    for uri, shown in (
        ("https://u:secret@h:1/p?sig=secret#secret", "https://h:1/p?…"),
        ("postgresql://u:secret@h/db", "postgresql://h/db"),
        ("s3://bucket/a b", "s3://bucket/a b"),
        ("abfss://c@account.dfs.core.windows.net/p", "abfss://c@account.dfs.core.windows.net/p"),
        ("runs:/1a/b?c", "runs:/1a/b?c"),
        ("models:/a@b", "models:/a@b"),
    ):
        assert redact(uri) == shown


def test_proxy_urls() -> None:
    tracking = "http://t:5000/prefix/"
    api = "/api/2.0/mlflow-artifacts/artifacts"
    for uri, expected in (
        ("mlflow-artifacts:/1/a", ("http://t:5000/prefix" + api, "1/a")),
        ("mlflow-artifacts:///1/a#b?c/", ("http://t:5000/prefix" + api, "1/a#b?c")),
        ("mlflow-artifacts:/", ("http://t:5000/prefix" + api, "")),
        ("mlflow-artifacts://other:1/1/a", ("http://other:1/prefix" + api, "1/a")),
        (f"https://h/x{api}/1/a", (f"https://h/x{api}", "1/a")),
    ):
        assert proxy_url(uri, tracking) == expected
    with pytest.raises(ModelURIError, match="kept by a tracking server"):
        proxy_url("mlflow-artifacts:/1", "sqlite:///x.db")
    with pytest.raises(ModelURIError, match="leads out"):
        proxy_url("mlflow-artifacts:/1/../../etc", tracking)


def test_joined_urls_are_percent_encoded() -> None:
    assert join("http://h/a/", "b c/", "d#?%.txt") == "http://h/a/b%20c/d%23%3F%25.txt"


def test_an_index_page_gives_what_lies_in_its_folder() -> None:
    page = """<a href="../">up</a> <a href="?C=N;O=D">by name</a> <a href='MLmodel'>MLmodel</a>
      <A HREF="/m/a%20b.txt">x</A> <a href="data/">d</a> <a href="data/deep.txt">no</a>
      <a href="http://h:80/m/">self</a> <a href="http://elsewhere/m/x">no</a> <a>none</a>"""
    assert names_in_index(page, "http://h/m/") == ["MLmodel", "a b.txt", "data/"]


def test_sizes_and_ages() -> None:
    assert [parse_size(text) for text in ("5", "2kB", "1.5 MB", "1GiB", "3g")] == [
        5, 2000, 1_500_000, 2**30, 3 * 10**9,
    ]  # fmt: skip
    assert [parse_age(text) for text in ("10s", "2m", "1.5h", "1d", "1w")] == [
        10, 120, 5400, 86400, 604800,
    ]  # fmt: skip
    for wrong in ("", "x", "5 apples", "iB", "-3"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(wrong)
    for wrong in ("", "5", "d", "1y"):
        with pytest.raises(ValueError, match="is no age"):
            parse_age(wrong)
    assert [format_size(size) for size in (999, 1000, 1_234_567, 5 * 10**9, 2 * 10**12)] == [
        "999 bytes", "1 kB", "1.2 MB", "5.0 GB", "2.0 TB",
    ]  # fmt: skip
