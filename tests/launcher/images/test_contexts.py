"""``launcher generate-dockerfile``: what is in a build context, and what never is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.envs.conftest import make_wheel
from tests.launcher.images.conftest import PASSWORD
from tests.launcher.images.tiny_model import tiny_model

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The context of a tiny model."""
    from click.testing import CliRunner

    from launcher.cli.main import main

    folder = tmp_path_factory.mktemp("context")
    model = tiny_model(folder / "tiny")
    arguments = ["generate-dockerfile", "-m", str(model), "-d", str(folder / "image")]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 0, ended.output
    return folder / "image"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_context_has_the_lock_the_server_and_the_model(context: Path) -> None:
    assert sorted(path.name for path in context.iterdir()) == [
        "Dockerfile", "environment", "model", "server",
    ]  # fmt: skip
    lock = (context / "environment" / "pylock.toml").read_text()
    assert 'name = "flask"' in lock
    assert "sha256" in lock
    assert (context / "server" / "scoring_server" / "__main__.py").is_file()
    assert (context / "model" / "opt" / "ml" / "model" / "MLmodel").is_file()
    config = json.loads((context / "model" / "opt" / "launcher" / "config.json").read_text())
    assert config["model"]["path"] == "/opt/ml/model"
    assert config["settings_from_environment"] is True


def test_the_lock_is_the_one_of_launcher_lock(context: Path, run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    assert run("lock", "-m", model).returncode == 0
    locked = (model / "pylock.toml").read_text()
    assert locked == (context / "environment" / "pylock.toml").read_text().replace(
        'requires-python = ">=3.11"', re.findall(r"requires-python = .*", locked)[0], 1
    )


def test_a_lock_for_several_platforms_is_that_of_images_for_each(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    options = [word for name in ("linux-64", "linux-aarch64") for word in ("--platform", name)]
    locked = run("lock", "-m", model, *options, "--json")
    assert locked.returncode == 0, locked.stderr
    assert json.loads(locked.stdout)["platforms"] == ["linux-64", "linux-aarch64"]
    for name in ("linux/amd64", "linux/arm64"):
        image = tmp_path / name.replace("/", "-")
        ended = run("generate-dockerfile", "-m", model, "-d", image, "--platform", name)
        assert ended.returncode == 0, ended.stderr
        carried = (image / "environment" / "pylock.toml").read_text()
        assert 'platforms = ["linux-64", "linux-aarch64"]' in carried
    assert run("lock", "-m", model, "--platform", "osx-arm64").returncode == 0
    refused = run("generate-dockerfile", "-m", model, "-d", tmp_path / "none")
    assert refused.returncode == 3
    assert "pylock.toml is for osx-arm64, not for linux-" in refused.stderr


def test_the_stages_are_in_the_order_of_change(context: Path) -> None:
    text = (context / "Dockerfile").read_text()
    assert "ARG BASE_IMAGE=python:3.11-slim" in text
    copied = re.findall(r"^COPY .*", text.split("FROM ${BASE_IMAGE}")[1], re.MULTILINE)
    assert [line.split()[-1] for line in copied] == ["/opt/env", "/opt/launcher", "/"]
    assert "USER 10001:0" in text
    assert "EXPOSE 8080" in text
    assert "HEALTHCHECK" in text
    assert "apt-get" not in text
    for label in ("title", "created", "run-id", "mlflow-version", "lock-sha256"):
        assert re.search(rf'\S+[.]{label}="\S+"', text), label


def test_a_bill_of_materials_lists_what_the_lock_has(context: Path) -> None:
    bill = json.loads((context / "model" / "opt" / "launcher" / "sbom.cdx.json").read_text())
    lock = (context / "environment" / "pylock.toml").read_text()
    names = re.findall(r'^name = "(.+)"', lock, re.MULTILINE)
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["type"] == "machine-learning-model"
    assert sorted(each["name"] for each in bill["components"]) == sorted(names)
    flask = next(each for each in bill["components"] if each["name"] == "flask")
    assert flask["purl"] == f"pkg:pypi/flask@{flask['version']}"


def test_a_second_version_changes_the_model_alone(context: Path, run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny", answer="other")
    assert run("generate-dockerfile", "-m", model, "-d", tmp_path / "image").returncode == 0
    one, two = tree(context), tree(tmp_path / "image")
    assert one.keys() == two.keys()
    changed = {name for name in one if one[name] != two[name]} - {"Dockerfile"}  # its label
    assert changed == {
        "model/opt/ml/model/code/tiny_loader.py",
        "model/opt/launcher/config.json",  # has the URI that was asked for
    }


def test_files_that_requirements_name_come_along(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny", requirements="./wheels/local-1.0-py3-none-any.whl\n")
    wheel = make_wheel(model / "wheels", "local", "1.0")
    ended = run("generate-dockerfile", "-m", model, "-d", tmp_path / "image")
    assert ended.returncode == 0, ended.stderr
    environment = tmp_path / "image" / "environment"
    assert (environment / "files" / wheel.name).read_bytes() == wheel.read_bytes()
    lock = (environment / "pylock.toml").read_text()
    assert f'path = "files/{wheel.name}"' in lock
    assert str(tmp_path) not in lock


def test_credentials_of_an_index_are_in_no_file(
    run: Run, tmp_path: Path, private_index: str
) -> None:
    model = tiny_model(tmp_path / "tiny", requirements="apple==1.0\n")
    environ = {**os.environ, "PIP_EXTRA_INDEX_URL": private_index}
    ended = run("generate-dockerfile", "-m", model, "-d", tmp_path / "image", env=environ)
    assert ended.returncode == 0, ended.stderr
    assert "--secret id=netrc" in ended.stdout
    context = tree(tmp_path / "image")
    assert b'name = "apple"' in context["environment/pylock.toml"]
    host = private_index.partition("@")[2].encode()
    assert b'ARG PIP_EXTRA_INDEX_URL="http://' + host in context["Dockerfile"]
    assert PASSWORD not in ended.stdout + ended.stderr
    assert not [name for name, content in context.items() if PASSWORD.encode() in content]


def test_the_dockerfiles_keep_the_linters_rules(context: Path, run: Run, tmp_path: Path) -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint is not None
    assert (
        run("generate-dockerfile", "-d", tmp_path / "a", "--install-java", "true").returncode == 0
    )
    for folder in (context, tmp_path / "a"):
        linted = subprocess.run(
            [hadolint, folder / "Dockerfile"], capture_output=True, text=True, check=False
        )
        assert (linted.returncode, linted.stdout) == (0, "")


def test_a_python_without_an_image_is_refused_before_anything_else(
    run: Run, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "tiny", python="3.99.1")
    ended = run("generate-dockerfile", "-m", model, "-d", tmp_path / "image")
    assert ended.returncode == 2
    assert "wants Python 3.99.1, of which there is no image" in ended.stderr
    assert "--base-image" in ended.stderr
    assert not (tmp_path / "image").exists()


def test_local_is_the_python_of_the_base_image(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    arguments = ["generate-dockerfile", "-m", model, "-d", tmp_path / "i", "--env-manager", "local"]
    assert "--base-image" in run(*arguments).stderr
    assert run(*arguments, "--base-image", "mine:1").returncode == 0
    text = (tmp_path / "i" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["python3", "-m", "scoring_server.container"]' in text
    assert not (tmp_path / "i" / "environment").exists()


def test_a_folder_with_something_else_in_it_stays(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "thesis.tex").touch()
    arguments = ["generate-dockerfile", "-m", model, "-d", tmp_path / "image"]
    ended = run(*arguments, "--env-manager", "local", "--base-image", "x")
    assert ended.returncode == 2
    assert "is not empty, and no build context: it has thesis.tex." in ended.stderr


def test_a_full_disk_is_named(run: Run, tmp_path: Path, small_disk: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    (model / "weights.bin").write_bytes(bytes(30 << 20))
    arguments = ["generate-dockerfile", "-m", model, "-d", small_disk / "image"]
    ended = run(*arguments, "--env-manager", "local", "--base-image", "x")
    assert ended.returncode == 1
    assert f"There is no room on the disk of {small_disk / 'image'}" in ended.stderr
    assert not (small_disk / "image" / "Dockerfile").exists()


def test_a_machine_without_a_builder_is_told_how_to_get_one(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    environ = {**os.environ, "PATH": str(tmp_path)}
    ended = run("build-docker", "-m", model, env=environ)
    assert ended.returncode == 2
    assert "There is no docker, podman or buildah on PATH" in ended.stderr
    assert "generate-dockerfile" in ended.stderr
    named = run("build-docker", "-m", model, "--builder", "podman", env=environ)
    assert "There is no podman on PATH" in named.stderr


def test_without_the_library_the_bill_of_materials_says_how_to_get_it(
    run: Run, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "tiny")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "cyclonedx.py").write_text("raise ImportError('hidden', name='cyclonedx')")
    environ = {**os.environ, "PYTHONPATH": str(hidden)}
    arguments = ["generate-dockerfile", "-m", model, "-d", tmp_path / "image"]
    ended = run(*arguments, env=environ)
    assert ended.returncode == 2
    assert "pip install 'cyclonedx-python-lib" in ended.stderr
    assert run(*arguments, "--no-sbom", env=environ).returncode == 0


def test_the_image_without_a_model_has_the_launcher(run: Run, tmp_path: Path) -> None:
    ended = run("generate-dockerfile", "-d", tmp_path / "image", "--extra", "conda")
    assert ended.returncode == 0, ended.stderr
    text = (tmp_path / "image" / "Dockerfile").read_text()
    assert '"-m", "launcher.cli.container"' in text
    assert 'VOLUME ["/var/cache/launcher"]' in text
    packages = {path.name for path in (tmp_path / "image" / "server").iterdir()}
    assert packages == {"launcher", "envs", "scoring_server"}
    locked = (tmp_path / "image" / "environment" / "launcher.txt").read_text()
    assert re.search(r"^click==", locked, re.MULTILINE)
    assert re.search(r"^py-rattler==", locked, re.MULTILINE)
    assert not re.search(r"^(s3fs|pytest)==", locked, re.MULTILINE)


def test_an_image_for_another_processor_has_its_wheels(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    arguments = ["generate-dockerfile", "-m", model, "-d", tmp_path / "image", "--platform"]
    assert run(*arguments, "linux/arm64").returncode == 0
    lock = (tmp_path / "image" / "environment" / "pylock.toml").read_text()
    assert "platform_machine == 'aarch64'" in lock
    assert not re.search(r'url = ".*x86_64\.whl"', lock)
    refused = run(*arguments, "windows/amd64")
    assert (refused.returncode, "windows/amd64" in refused.stderr) == (2, True)


def test_a_model_with_its_own_lock_is_installed_from_that(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    shutil.copytree(model, tmp_path / "locked")
    assert run("lock", "-m", tmp_path / "locked", "--as-of", "2026-09-01").returncode == 0
    ended = run("generate-dockerfile", "-m", tmp_path / "locked", "-d", tmp_path / "image")
    assert ended.returncode == 0, ended.stderr
    own = (tmp_path / "locked" / "pylock.toml").read_text()
    put = (tmp_path / "image" / "environment" / "pylock.toml").read_text()
    assert re.findall(r"sha256 = .*", own) == re.findall(r"sha256 = .*", put)
    assert 'resolved-as-of="lock"' in (tmp_path / "image" / "Dockerfile").read_text()


def test_a_checkout_of_mlflow_is_installed_over_the_release(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    checkout = tmp_path / "checkout"
    (checkout / ".git").mkdir(parents=True)
    (checkout / "pyproject.toml").write_text('[project]\nname = "mlflow"\nversion = "3.17.2"\n')
    ended = run(
        "generate-dockerfile", "-m", model, "-d", tmp_path / "image", "--mlflow-home", checkout
    )
    assert ended.returncode == 0, ended.stderr
    environment = tmp_path / "image" / "environment"
    assert [path.name for path in (environment / "mlflow").iterdir()] == ["pyproject.toml"]
    assert 'name = "mlflow"' in (environment / "pylock.toml").read_text()  # for what it needs
    text = (tmp_path / "image" / "Dockerfile").read_text()
    installed = re.findall(r" -r (\S+)|(--reinstall \S+)", text)
    assert installed == [("uv.txt", ""), ("pylock.toml", ""), ("", "--reinstall ./mlflow")]


def test_a_crate_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "crate").mkdir()
    (tmp_path / "crate" / "crate.bin").touch()
    (tmp_path / "crate" / "MLmodel").write_text(
        "flavors:\n  crate:\n    version: 0.1.0\n    model: crate.bin\n"
    )
    ended = run("generate-dockerfile", "-m", tmp_path / "crate", "-d", tmp_path / "image")
    assert ended.returncode == 2
    assert "no image of a model has R in it" in ended.stderr
