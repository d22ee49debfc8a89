"""Names of channels, conda's settings, credentials in URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs import EnvError
from envs.managers.conda.channels import DEFAULT_CHANNELS, read_channels, split_credentials
from envs.managers.conda.pip_section import conda_constraints


def urls(*names: str, base_dir: Path | None = None, **environ: str) -> list[str]:
    return [channel.url for channel in read_channels(names, base_dir, environ)]


@pytest.mark.parametrize(
    ("url", "clean", "secrets"),
    [
        (
            "https://me:pa%40ss@host.example/ch",
            "https://host.example/ch",
            {"pa@ss", "pa%40ss"},
        ),
        ("https://host.example/t/tk-123/ch", "https://host.example/ch", {"tk-123"}),
        ("https://user@host.example:8443/a/b/", "https://host.example:8443/a/b", {"user"}),
        ("https://host.example/t/tk-1", "https://host.example", {"tk-1"}),
        ("https://host.example/conda-forge/linux-64", "https://host.example/conda-forge", set()),
        ("https://host.example/conda-forge/noarch/", "https://host.example/conda-forge", set()),
        ("file:///t/folder/channel", "file:///t/folder/channel", set()),
    ],
)
def test_credentials_are_taken_out_of_urls(url: str, clean: str, secrets: set[str]) -> None:
    channel = split_credentials(url)
    assert channel.url == clean
    assert channel.secrets() == secrets


def test_requests_get_the_credentials_back() -> None:
    both = split_credentials("https://me:pass@host.example/t/tk/ch")
    assert both.access() == {
        "url": "https://host.example/ch",
        "token_url": "https://host.example/t/tk/ch",
        "user": "me",
        "password": "pass",
    }
    assert split_credentials("https://host.example/ch").access() is None


def test_defaults_are_condas_and_nodefaults_nothing() -> None:
    assert urls("nodefaults", "defaults") == list(DEFAULT_CHANNELS)
    assert urls("nodefaults") == []


def test_local_is_refused() -> None:
    with pytest.raises(EnvError, match="'local' is a folder of the machine that logged the model"):
        urls("conda-forge", "local")


@pytest.mark.parametrize("name", ["no channel", "ftp://host.example/ch", "", "a//b"])
def test_what_is_no_channel_is_refused(name: str) -> None:
    with pytest.raises(EnvError, match="is no conda channel"):
        urls(name)


def test_names_have_condas_host_unless_told_otherwise() -> None:
    assert urls("conda-forge", "conda-forge/label/old") == [
        "https://conda.anaconda.org/conda-forge",
        "https://conda.anaconda.org/conda-forge/label/old",
    ]
    alias = {"CONDA_CHANNEL_ALIAS": "https://me:pass@mirror.example/conda/"}
    assert urls("conda-forge", **alias) == ["https://mirror.example/conda/conda-forge"]
    defaults = {"CONDA_DEFAULT_CHANNELS": "main,https://host.example/own"}
    assert urls("defaults", **defaults, **alias) == [
        "https://mirror.example/conda/main",
        "https://host.example/own",
    ]


def test_settings_of_a_condarc_count(tmp_path: Path) -> None:
    condarc = tmp_path / "condarc"
    condarc.write_text(
        "channel_alias: https://mirror.example\n"
        "default_channels: [main]\n"
        "custom_channels: {own: 'https://${SECRET}@own.example'}\n"
    )
    environ = {"CONDARC": str(condarc), "SECRET": "me:pass"}
    assert urls("defaults", "own", "own/label/x", **environ) == [
        "https://mirror.example/main",
        "https://own.example/own",
        "https://own.example/own/label/x",
    ]
    condarc.write_text("channel_alias: [")
    with pytest.raises(EnvError, match=r"condarc is not YAML, line 2"):
        urls("defaults", **environ)


def test_variables_are_filled_in() -> None:
    (channel,) = read_channels(["https://host.example/t/${TOKEN}/ch"], None, {"TOKEN": "tk-9"})
    assert channel.token_url == "https://host.example/t/tk-9/ch"
    assert "tk-9" not in repr(channel.url)
    with pytest.raises(EnvError, match="needs the environment variable TOKEN"):
        urls("https://host.example/t/$TOKEN/ch")


def test_folders_start_from_the_models(tmp_path: Path) -> None:
    assert urls("./ch", base_dir=tmp_path) == [f"file://{tmp_path}/ch"]
    assert urls(str(tmp_path / "ch")) == [f"file://{tmp_path}/ch"]


def test_a_channel_counts_once() -> None:
    assert urls("conda-forge", "https://conda.anaconda.org/conda-forge/") == [
        "https://conda.anaconda.org/conda-forge"
    ]


def test_pins_of_the_pip_section_hold_for_conda() -> None:
    lines = [
        "setuptools==68.0",
        "Foo_Bar>=1,<2",
        "torch==2.1.0+cpu --hash=sha256:00",
        "six==1.*",
        "any",
        "odd===1",
        "win ; sys_platform == 'win32'",
        "gone==1 ; sys_platform == 'win32'",
        "url @ https://host.example/url-1.0.tar.gz",
    ]
    assert conda_constraints(lines) == (
        "foo-bar <2,>=1",
        "setuptools ==68.0",
        "six 1.*",
        "torch ==2.1.0",
    )
