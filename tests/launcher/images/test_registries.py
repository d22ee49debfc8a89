"""Images that are pushed: to a registry on this machine, and to one that asks who it is."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.launcher.artifacts.servers import free_port
from tests.launcher.images.conftest import PASSWORD
from tests.launcher.images.containers import LONGEST, Images, needs_builders
from tests.launcher.images.tiny_model import tiny_model

pytestmark = [
    pytest.mark.slow,
    needs_builders,
    pytest.mark.skipif(
        shutil.which("docker-registry") is None,
        reason="docker-registry is not here: apt-get install docker-registry",
    ),
]
# The user `me` with PASSWORD, as htpasswd writes it: bcrypt is no part of the standard library.
USERS = "me:$2b$04$JoGO/pFOusEUcrsxcAUjp.LWCbQbWjM5P8d9RyrBdoXP76tI7UzCe\n"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextmanager
def registry(folder: Path, *, users: str = "") -> Iterator[str]:
    """A registry whose images are in ``folder``; its host and port."""
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    settings = ["version: 0.1", f"storage: {{filesystem: {{rootdirectory: {folder}}}}}"]
    settings += [f"http: {{addr: '{address}'}}"]
    if users:
        (folder / "users").write_text(users)
        settings += [f"auth: {{htpasswd: {{realm: here, path: {folder}/users}}}}"]
    (folder / "config.yml").write_text("\n".join(settings))
    with (folder / "log").open("wb") as log:
        command = ["docker-registry", "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + LONGEST
        while True:
            try:
                requests.get(f"http://{address}/v2/", timeout=10)
                break
            except requests.ConnectionError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def stubs(images: Images, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base with modules that are called as what serving needs: what is pushed is never run."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("flask", "numpy", "pandas"):
        (folder / f"{name}.py").touch()
    return images.add(base, folder, "/usr/lib/python3/dist-packages", "localhost/stubs:1")


def test_an_image_is_pushed_and_read_back(images: Images, stubs: str, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    local = ["--env-manager", "local", "--base-image", stubs, "--builder", "buildah", "--push"]
    with registry(tmp_path / "open") as address:
        name = f"{address}/team/tiny"
        ended = images.build("-m", model, *local, "-n", f"{name}:1", "--tag", f"{name}:latest")
        assert ended.returncode == 0, ended.stderr[-4000:]
        one = images.inspect(f"{name}:1")
        for tag in ("1", "latest"):
            url = f"http://{address}/v2/team/tiny/manifests/{tag}"
            manifest = requests.get(url, headers={"Accept": MANIFEST}, timeout=10).json()
            assert manifest["config"]["digest"] == f"sha256:{one['Id']}"
        images.run("buildah", "rmi", f"{name}:1", f"{name}:latest")
        images.run("buildah", "pull", "--quiet", "--tls-verify=false", f"{name}:1")
        again = images.inspect(f"{name}:1")
        assert again["RootFS"] == one["RootFS"]
        assert again["Config"]["Labels"]["mlmodel.run-id"] == "0123abcd"


def test_a_registry_that_asks_who_it_is(images: Images, stubs: str, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    local = ["--env-manager", "local", "--base-image", stubs, "--builder", "buildah", "--push"]
    with registry(tmp_path / "closed", users=USERS) as address:
        name = f"{address}/team/tiny:1"
        ended = images.build("-m", model, *local, "-n", name)
        assert ended.returncode == 3
        assert f"buildah push: {address} does not let you push {name}." in ended.stderr
        assert f"`buildah login {address}`" in ended.stderr
        ended = images.build("-m", model, *local, "-n", name, more=("--creds", f"me:{PASSWORD}"))
        assert ended.returncode == 0, ended.stderr[-4000:]
