"""Images that are built and run: the contracts of MLflow, SageMaker and Knative, layer by layer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.launcher.images.conftest import PASSWORD, serve_index
from tests.launcher.images.containers import Container, Images, certificates, needs_builders
from tests.launcher.images.tiny_model import tiny_model

pytestmark = [pytest.mark.slow, needs_builders]
# Nothing of the image may be written to, and its user is not the one it names.
CLOSED = ("--read-only", "--read-only-tmpfs=false", "--user", "54321:0", "--cap-drop", "ALL")
IMAGE, SECOND = "localhost/tiny:1", "localhost/tiny:2"
RunContainer = Callable[..., Container]


@pytest.fixture(scope="module")
def built(images: Images, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a tiny model that has a package of an index with a password."""
    folder = tmp_path_factory.mktemp("built")
    model = tiny_model(folder / "tiny", requirements="apple==1.0\n")
    with serve_index(folder / "index") as url:
        ended = images.build(
            "-m", model, "-n", IMAGE, "--base-image", base, "--label", "team=iris",
            environ={"PIP_EXTRA_INDEX_URL": url},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-4000:]
        assert PASSWORD not in ended.stderr + ended.stdout
        # Of the second version nothing but the model is made.
        second = tiny_model(folder / "second", answer="second", requirements="apple==1.0\n")
        ended = images.build(
            "-m", second, "-n", SECOND, "--base-image", base, "--label", "team=iris",
            environ={"PIP_EXTRA_INDEX_URL": url},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-4000:]
    return IMAGE


@pytest.fixture
def run(images: Images, built: str) -> Iterator[RunContainer]:
    """Start containers that end with the test."""
    from contextlib import ExitStack

    with ExitStack() as started:

        def start(*options: str | Path, image: str = built, **more: tuple[str, ...]) -> Container:
            return started.enter_context(images.container(image, *options, **more))

        yield start


def refuses(container: Container) -> bool:
    try:
        requests.get(f"{container.url}/ping", timeout=5)
    except requests.ConnectionError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_serves_closed_and_as_any_user_and_stops_when_told(run: RunContainer) -> None:
    container = run(*CLOSED)
    container.ready()
    assert container.ask().json() == {"predictions": ["done"]}
    assert container.ask("user").json() == {"predictions": [54321, 11]}
    assert container.stop() == 0


def test_it_is_not_root_where_nobody_says_who(run: RunContainer) -> None:
    container = run()
    container.ready()
    assert container.ask("user").json()["predictions"][0] == 10001


def test_mlflows_variables_count(run: RunContainer) -> None:
    variables = ("MLFLOW_MODELS_WORKERS=3", "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT=0.5")
    container = run(*(word for each in variables for word in ("--env", each)))
    container.ready()
    assert "launcher_workers 3" in requests.get(f"{container.url}/metrics", timeout=10).text
    assert container.ask("sleep 20").status_code == 504


def test_it_is_ready_only_when_the_model_is(run: RunContainer) -> None:
    container = run("--env", "TINY_LOAD_SECONDS=3")
    wait_until(lambda: len(container.processes()) >= 2)
    assert refuses(container)
    container.ready()
    started = time.monotonic()
    assert requests.get(f"{container.url}/ping", timeout=2).status_code == 200  # SageMaker's limit
    assert time.monotonic() - started < 2


def test_it_stops_at_once_while_the_model_is_loaded(run: RunContainer) -> None:
    container = run("--env", "TINY_LOAD_SECONDS=600")
    wait_until(lambda: len(container.processes()) >= 2)
    started = time.monotonic()
    assert container.stop() == 128 + 15
    assert time.monotonic() - started < 20  # podman would kill it after 30 s


def test_readiness_goes_first_and_requests_are_finished(run: RunContainer) -> None:
    container = run()
    container.ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(container.ask, "sleep 3")
        gauge = "launcher_in_flight_requests 1"
        wait_until(lambda: gauge in requests.get(f"{container.url}/metrics", timeout=10).text)
        stopped = pool.submit(container.stop)
        wait_until(lambda: refuses(container))
        assert not answer.done()
        assert answer.result().json() == {"predictions": ["done"]}
        assert stopped.result() == 0


def test_no_zombies_are_left(run: RunContainer) -> None:
    container = run()
    container.ready()
    before = len(container.processes())
    assert container.ask("orphan").status_code == 200
    wait_until(lambda: len(container.processes()) == before)
    assert not [each for each in container.processes() if each.startswith("Z")]


def test_secrets_are_mounted_files(run: RunContainer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("letmein\n")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    make += ["-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")]
    subprocess.run(make, check=True, capture_output=True)
    (tmp_path / "tls.key").chmod(0o644)
    tmp_path.chmod(0o755)
    container = run(
        "--volume", f"{tmp_path}:/secrets:ro",
        "--env", "LAUNCHER_SERVE_TOKEN_FILE=/secrets/token",
        "--env", "LAUNCHER_SERVE_TLS_CERT=/secrets/tls.crt",
        "--env", "LAUNCHER_SERVE_TLS_KEY=/secrets/tls.key",
    )  # fmt: skip
    url = container.url.replace("http:", "https:")
    ping = ("podman", "exec", container.id, "/opt/env/bin/python", "-m")
    health = [*ping, "scoring_server.container", "ping"]

    def is_healthy() -> bool:
        return subprocess.run(
            health, env=container.images.environ, check=False, capture_output=True
        ).returncode == 0  # fmt: skip

    wait_until(is_healthy)
    ask = {"json": {"inputs": []}, "verify": str(tmp_path / "tls.crt"), "timeout": 10}
    assert requests.post(f"{url}/invocations", **ask).status_code == 401  # type: ignore[arg-type]
    ask["headers"] = {"Authorization": "Bearer letmein"}
    assert requests.post(f"{url}/invocations", **ask).status_code != 401  # type: ignore[arg-type]


def test_a_model_mounted_where_sagemaker_has_it_is_served(
    run: RunContainer, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "other", answer="mounted")
    tmp_path.chmod(0o755)
    container = run("--volume", f"{model}:/opt/ml/model:ro")
    container.ready()
    assert container.ask().json() == {"predictions": ["mounted"]}


def test_a_second_version_is_one_small_layer(images: Images, run: RunContainer, base: str) -> None:
    container = run(image=SECOND)
    container.ready()
    assert container.ask().json() == {"predictions": ["second"]}
    one, two = images.layers(IMAGE), images.layers(SECOND)
    assert len(one) == len(two) == len(images.layers(base)) + 3  # environment, server, model
    assert one[:-1] == two[:-1]
    assert one[-1] != two[-1]
    history = images.run("podman", "history", "--format", "json", "--human=false", SECOND)
    sizes = [each["size"] for each in json.loads(history) if "COPY" in each["CreatedBy"]]
    assert min(sizes) < 100_000 < max(sizes)


def test_the_image_has_the_packages_of_the_lock_and_nothing_to_build_with(
    images: Images, run: RunContainer
) -> None:
    container = run()
    container.ready()
    listed = (
        "import importlib.metadata as m, re;"
        "print(*sorted(re.sub('[-_.]+', '-', d.name).lower() + '==' + d.version"
        " for d in m.distributions()))"
    )
    python = "/opt/env/bin/python"
    found = images.run("podman", "exec", container.id, python, "-I", "-c", listed).split()
    cat = ("podman", "exec", container.id, "cat", "/opt/launcher/sbom.cdx.json")
    components = json.loads(images.run(*cat))["components"]
    assert found == sorted(f"{each['name']}=={each['version']}" for each in components)
    tools = [
        "find",
        "/",
        "-xdev",
        "(",
        "-name",
        "gcc",
        "-o",
        "-name",
        "uv",
        ")",
        "-not",
        "-type",
        "d",
    ]
    assert images.run("podman", "exec", "--user", "0", container.id, *tools) == ""


def test_what_it_says_of_itself(images: Images, built: str) -> None:
    found = images.inspect(built)
    config = found["Config"]
    assert config["User"] == "10001:0"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert found["Healthcheck"]["Test"][-1] == "ping"
    assert config["Labels"]["team"] == "iris"
    assert config["Labels"]["mlmodel.run-id"] == "0123abcd"
    assert len(config["Labels"]["mlmodel.lock-sha256"]) == 64


@pytest.mark.usefixtures("built")
def test_the_password_of_the_index_is_in_no_layer(images: Images) -> None:
    """Of the image, and of the stage that installs its packages, which only this machine has."""
    stages = images.run("podman", "images", "--all", "--quiet").split()
    assert len(set(stages)) > 3
    # Every file of every layer, every image's settings and history.
    search = ["grep", "--recursive", "--text", "--files-with-matches", "--devices=skip"]
    for text, is_there in ((PASSWORD, False), ("apple-1.0.dist-info", True)):
        searched = subprocess.run(
            [*search, text, images.graph], capture_output=True, text=True, check=False
        )
        assert bool(searched.stdout) is is_there, searched.stdout


def test_an_old_model_on_an_old_python(
    images: Images, base: str, run: RunContainer, tmp_path: Path
) -> None:
    found = sorted(
        Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.8*")
    )
    if not found:
        pytest.skip("pyenv has no Python 3.8: pyenv install 3.8")
    old = images.make_base_of(found[-1], base, "localhost/python:3.8-slim")
    model = tiny_model(tmp_path / "old", python="3.8.18", requirements="pandas==1.1.5\nflask<2\n")
    text = (model / "MLmodel").read_text()
    (model / "MLmodel").write_text(text.replace("2026-11-01", "2021-03-01"))
    ended = images.build("-m", model, "-n", "localhost/old:1", "--base-image", old)
    assert ended.returncode == 0, ended.stderr[-4000:]
    container = run(*CLOSED, image="localhost/old:1")
    container.ready()
    assert container.ask("user").json() == {"predictions": [54321, 8]}
    assert container.stop() == 0


def test_what_cannot_be_built_says_why(images: Images, base: str, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny", python="3.9")
    ended = images.build("-m", model, "-n", "localhost/no:1", "--base-image", base)
    assert ended.returncode == 3
    assert f"{base} has another Python or processor than the lock is for." in ended.stderr
    ended = images.build("-m", model, "-n", "localhost/no:1", "--base-image", "localhost/none:1")
    assert ended.returncode == 3
    assert "an image to build from cannot be had (localhost/none:1" in ended.stderr


def test_an_image_without_a_model_makes_the_environment_once(
    images: Images, base: str, run: RunContainer, tmp_path: Path
) -> None:
    name = "localhost/launcher:1"
    ended = images.build("-n", name, "--base-image", base)
    assert ended.returncode == 0, ended.stderr[-4000:]
    model = tiny_model(tmp_path / "tiny")
    tmp_path.chmod(0o755)
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o1777)
    options = ["--volume", f"{model}:/mnt/models:ro", "--volume", f"{cache}:/var/cache/launcher"]
    certs = certificates()
    if certs is not None:
        options += ["--volume", f"{certs}:{certs}:ro", "--env", f"SSL_CERT_FILE={certs}"]
    first = run("--read-only", "--user", "54321:0", *options, image=name)
    first.ready()
    assert first.ask("user").json() == {"predictions": [54321, 11]}
    assert first.stop() == 0
    assert re.search(r"environment \w+ .*: ready", first.logs())
    # By its URI, without a network, from the same cache.
    offline = ["--env", "MODEL_URI=/mnt/models", "--env", "LAUNCHER_SERVE_OFFLINE=1"]
    second = run("--read-only", "--user", "54321:0", *options, *offline, image=name)
    second.ready()
    assert second.stop() == 0
    assert re.search(r"environment \w+ .*: reused", second.logs())
    shutil.rmtree(cache)
