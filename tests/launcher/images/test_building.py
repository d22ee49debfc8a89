"""What is put into images: the same packages whenever they are built, a checkout of MLflow, Java.

Packages of an index of the tests' own stand for those that serving needs, so that a build takes
seconds; nothing is served from these images.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envs.conftest import make_wheel
from tests.launcher.images.containers import Images, needs_builders
from tests.launcher.images.tiny_model import tiny_model
from tests.launcher.launcher_process import run_with

pytestmark = needs_builders
SIMPLE = "application/vnd.pypi.simple.v1+json"
LOGGED, LATER = "2026-10-01", "2027-10-01"  # the tiny model is of November 2026


class DatedIndex(http.server.SimpleHTTPRequestHandler):
    """An index that says when its files came (PEP 700): below a folder a folder for each day."""

    def do_GET(self) -> None:
        name = self.path.strip("/")
        files = sorted(Path(self.directory).glob(f"*/{name.replace('-', '_')}-*.whl"))
        if "/" in name or not files:
            super().do_GET()
            return
        described = [
            {
                "filename": file.name,
                "url": f"/{file.relative_to(self.directory)}",
                "hashes": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
                "upload-time": f"{file.parent.name}T12:00:00Z",
                "size": file.stat().st_size,
            }
            for file in files
        ]
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": described})
        self.send_response(200)
        self.send_header("Content-Type", SIMPLE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


class Index:
    """Such an index, as it is served."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.environ = {"PIP_EXTRA_INDEX_URL": f"http://127.0.0.1:{port}"}

    def add(self, day: str, **versions: str) -> None:
        for name, version in versions.items():
            make_wheel(self.folder / day, name, version)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """With what serving needs, newer than anywhere else, and two packages of models."""
    (tmp_path / "index").mkdir()
    handler = functools.partial(DatedIndex, directory=str(tmp_path / "index"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    made = Index(tmp_path / "index", server.server_port)
    made.add(LOGGED, flask="100.0", numpy="100.0", pandas="100.0", orjson="100.0", apple="1.0")
    made.add(LOGGED, mlflow="3.17.2")
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def installed(images: Images, image: str) -> list[str]:
    """The packages of an image's environment, `name-version`."""
    mounted = Path(images.run("podman", "image", "mount", image))
    try:
        found = mounted.glob("opt/env/lib/python*/site-packages/*.dist-info")
        return sorted(path.name.removesuffix(".dist-info") for path in found)
    finally:
        images.run("podman", "image", "unmount", image)


@pytest.mark.slow
def test_two_builds_a_year_apart_have_the_same_packages(
    images: Images, base: str, index: Index, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "tiny", requirements="apple>=1.0\n")
    build = functools.partial(images.build, "-m", model, "--base-image", base)
    ended = build("-n", "localhost/year:1", environ=index.environ)
    assert ended.returncode == 0, ended.stderr[-4000:]
    # A year's releases, of what the model names and of what nobody has named.
    index.add(LATER, flask="200.0", numpy="200.0", pandas="200.0", orjson="200.0", apple="2.0")
    ended = build("-n", "localhost/year:2", environ=index.environ, more=("--no-cache",))
    assert ended.returncode == 0, ended.stderr[-4000:]
    one, two = (installed(images, f"localhost/year:{number}") for number in (1, 2))
    assert one == two
    assert {"apple-1.0", "flask-100.0", "orjson-100.0"} < set(one)
    # They were there to be had.
    folder = tmp_path / "today"
    write = ["generate-dockerfile", "-m", model, "-d", folder, "--as-of", "today"]
    assert run_with(*write, **index.environ).returncode == 0
    lock = (folder / "environment" / "pylock.toml").read_text()
    assert 'name = "flask"\nversion = "200.0"' in lock


@pytest.mark.slow
def test_a_checkout_of_mlflow_is_what_is_installed(
    images: Images, base: str, index: Index, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "mlflow").mkdir(parents=True)
    (checkout / "mlflow" / "__init__.py").write_text("MINE = True\n")
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "mlflow"\nversion = "3.18.0.dev0"\n'
    )
    ended = images.build(
        "-m", tiny_model(tmp_path / "tiny"), "-n", "localhost/checkout:1", "--base-image", base,
        "--mlflow-home", checkout, environ=index.environ,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = [each for each in installed(images, "localhost/checkout:1") if "mlflow" in each]
    assert found == ["mlflow-3.18.0.dev0"]


@pytest.mark.long
def test_java_is_installed(images: Images, base: str, index: Index, tmp_path: Path) -> None:
    """From the archive of the base image's distribution."""
    ended = images.build(
        "-m", tiny_model(tmp_path / "tiny"), "-n", "localhost/java:1", "--base-image", base,
        "--install-java", "true", environ=index.environ,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    with images.container("localhost/java:1", "--entrypoint", "java", command=("-version",)) as ran:
        images.run("podman", "wait", ran.id)
        assert "openjdk version" in ran.logs()
