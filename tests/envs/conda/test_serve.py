"""The launcher with `--env-manager conda`, as a person runs it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from envs import EnvError
from tests.envs.conda.channel import (
    Channel,
    Package,
    data_package,
    library,
    pip_package,
    python_package,
)
from tests.envs.conda.server import serving
from tests.launcher.launcher_process import run_with as run

SCRIPTS = "etc/conda/activate.d"
LOADER = """
import os, sys
import tiny


class Model:
    def predict(self, data):
        return [tiny.__version__, tiny.maker, sys.prefix, sys.executable][: len(data)]


def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model whose code needs ``tiny``, which only the channel has."""

    def write(channel: str, *dependencies: object, created: str = "2025-11-10 12:00:00") -> Path:
        folder = tmp_path / "model"
        (folder / "code").mkdir(parents=True)
        (folder / "code" / "needs_tiny.py").write_text(LOADER)
        flavor = {"loader_module": "needs_tiny", "code": "code", "env": {"conda": "conda.yaml"}}
        mlmodel = {"flavors": {"python_function": flavor}, "utc_time_created": created}
        (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))
        conda = {"channels": [channel], "dependencies": list(dependencies), "name": "mlflow-env"}
        (folder / "conda.yaml").write_text(yaml.safe_dump(conda))
        return folder

    return write


@pytest.fixture(scope="module")
def served_channel(base_channel: Channel, tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """The channel with ``geo``, which has activation scripts: one good, one that fails."""
    channel = base_channel.copy(tmp_path_factory.mktemp("served") / "channel")
    channel.add(
        data_package(
            "geo",
            {
                f"{SCRIPTS}/geo.sh": 'export GEO_DATA="$CONDA_PREFIX/share/geo" OLD="was $MINE"\n',
                f"{SCRIPTS}/broken.sh": "export HALF=1\necho no such sensor >&2\nexit 3\n",
                "etc/conda/env_vars.d/geo.json": '{"GEO_LICENSE": "a $HOME \\"b\\""}',
                "share/geo/table": "1",
            },
        )
    )
    return channel


def dependencies(python: Package) -> list[object]:
    """What several models ask for, so that their environment is built once."""
    minor = python.version.rpartition(".")[0]
    return [f"python={minor}", "tiny", "geo", "pip", {"pip": ["six"]}]


@contextmanager
def served(model: Path, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a model; yields its URL and what was said until then."""
    command = [sys.executable, "-m", "launcher", "serve", "-m", str(model), "-p", "0"]
    command += ["--env-manager", "conda", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip())
            if ready := re.match(r"ready: (http://\S+)", line):
                break
        else:
            pytest.fail("\n".join(said))
        try:
            yield ready[1], said
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        assert process.wait(30) == 0


ENVIRON_LOADER = """
import os


class Model:
    def predict(self, data):
        return [dict(os.environ)]


def _load_pyfunc(path):
    return Model()
"""


def predictions(url: str, rows: int = 4) -> list[str]:
    body = {"dataframe_records": [{"x": number} for number in range(rows)]}
    answer = requests.post(f"{url}/invocations", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


@pytest.mark.slow
def test_serve_from_a_channel_in_a_folder(
    model: Callable[..., Path], served_channel: Channel, python: Package
) -> None:
    path = model(served_channel.url, *dependencies(python))
    with served(path) as (url, said):
        version, maker, prefix, executable = predictions(url)
        # As of the day of the model: the newer tiny is from 2026.
        assert (version, maker) == ("1.0", "conda")
        assert executable.startswith(prefix + "/bin/python")
        assert any(f"(conda, Python {python.version}, " in line for line in said)
        key = requests.get(f"{url}/info", timeout=10).json()["environment"]["key"]
        assert f"/{key}/env" in prefix
    # The same again, with the environment that is there.
    with served(path) as (url, said):
        assert predictions(url, 1) == ["1.0"]
        assert any("reused" in line for line in said)
        assert not any("resolving" in line for line in said)


def test_the_server_has_the_variables_of_the_activated_environment(
    model: Callable[..., Path],
    served_channel: Channel,
    python: Package,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MINE", "mine")
    monkeypatch.setenv("CONDA_PREFIX", "/nowhere")
    path = model(served_channel.url, *dependencies(python))
    (path / "code" / "needs_tiny.py").write_text(ENVIRON_LOADER)
    with served(path) as (url, said):
        environ = dict(predictions(url, 1)[0])
        key = requests.get(f"{url}/info", timeout=10).json()["environment"]["key"]
        prefix = environ["CONDA_PREFIX"]
        assert f"/{key}/env" in prefix
        assert Path(environ["GEO_DATA"], "table").read_text() == "1"
        assert environ["GEO_DATA"].startswith(prefix)
        assert environ["GEO_LICENSE"] == 'a $HOME "b"'
        assert environ["PATH"].startswith(f"{prefix}/bin:")
        assert (environ["OLD"], environ["HALF"]) == ("was mine", "1")
        [warning] = [line for line in said if "warning: " in line]
        failed = f"the activation script {prefix}/{SCRIPTS}/broken.sh failed with code 3"
        assert warning.endswith(f"{failed}: no such sensor")
    inside = run("envs", "run", key, "--", "sh", "-c", "echo $GEO_DATA")
    assert inside.stdout.strip() == environ["GEO_DATA"]
    assert failed in inside.stderr
    scores = tmp_path / "scores.json"
    (tmp_path / "rows.json").write_text('{"dataframe_records": [{"x": 1}]}')
    done = run(
        *("predict", "-m", path, "-i", tmp_path / "rows.json", "-o", scores),
        *("--env-manager", "conda"),
    )
    assert done.returncode == 0, done.stderr
    assert environ["GEO_DATA"] in scores.read_text()


@pytest.mark.slow
def test_serve_from_a_channel_over_http(
    model: Callable[..., Path], channel: Channel, python: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel is given by name, and the host of names is behind a password."""
    with serving(channel.folder, user="me:s3cret") as server:
        monkeypatch.setenv("CONDA_CHANNEL_ALIAS", f"http://me:s3cret@{server.address}")
        path = model("channel", f"python={python.version}", "tiny=2.*", "pip", {"pip": ["six"]})
        with served(path) as (url, said):
            assert predictions(url, 2) == ["2.0", "conda"]
    output = "\n".join(said)
    assert "tiny 2.0 is from 2026-01-01, later than 2025-11-10" in output
    assert "s3cret" not in output


@pytest.mark.slow
def test_lock_then_serve_from_the_lock(
    model: Callable[..., Path], channel: Channel, python: Package
) -> None:
    path = model(channel.url, f"python={python.version}", "tiny", "pip", {"pip": ["six"]})
    done = run("lock", "-m", path, "--env-manager", "conda", "--resolve-as-of", "2025-11-10")
    assert done.returncode == 0, done.stderr
    assert "conda-lock.yml" in done.stdout
    assert "packages as of 2025-11-10" in done.stdout
    channel.add(library("tiny", "1.9", built="2021-01-01"))
    with served(path) as (url, said):
        assert predictions(url, 1) == ["1.0"]
        assert not any("resolving" in line for line in said)


@pytest.mark.slow
def test_a_real_model_of_2020_on_python_3_7(real_models: Path, tmp_path: Path) -> None:
    """Logged by MLflow 1.10: its conda.yaml, with the tests' channel in place of its own."""
    try:
        old = python_package("3.7")
    except EnvError:
        pytest.skip("no Python 3.7 on this machine: uv python install 3.7")
    channel = Channel(tmp_path / "channel")
    old.write(channel.folder)
    channel.add(pip_package(old))
    path = tmp_path / "model"
    shutil.copytree(real_models / "mlflow-1.10.0-pyfunc", path)
    conda = yaml.safe_load((path / "conda.yaml").read_text())
    (path / "conda.yaml").write_text(yaml.safe_dump({**conda, "channels": [channel.url]}))
    with served(path) as (url, said):
        assert requests.get(f"{url}/info", timeout=10).json()["python"] == old.version
        assert any(f"(conda, Python {old.version}, " in line for line in said)


@pytest.mark.parametrize(
    ("dependency", "words"),
    [
        ("nosuch", "Error: The conda requirements cannot be resolved: No candidates were found"),
        ("tiny=>1", "Error: conda.yaml: the requirement 'tiny=>1' cannot be read"),
    ],
)
def test_what_cannot_be_built_ends_with_3(
    model: Callable[..., Path], base_channel: Channel, dependency: str, words: str
) -> None:
    done = run("serve", "-m", model(base_channel.url, dependency), "--env-manager", "conda")
    assert done.returncode == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_without_a_conda_yaml(model: Callable[..., Path], base_channel: Channel) -> None:
    path = model(base_channel.url)
    (path / "conda.yaml").unlink()
    (path / "requirements.txt").write_text("six\n")
    done = run("serve", "-m", path, "--env-manager", "conda", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"requirement +pip$", done.stdout, re.MULTILINE)
    assert re.search(r"requirement +six$", done.stdout, re.MULTILINE)


def test_the_environment_is_listed_and_shown(
    model: Callable[..., Path], served_channel: Channel, python: Package
) -> None:
    path = model(served_channel.url, *dependencies(python))
    done = run("prepare-env", "-m", path, "--env-manager", "conda")
    assert done.returncode == 0, done.stderr
    key = re.search(r"^key: +(\w+)$", done.stdout, re.MULTILINE)
    assert key
    shown = json.loads(run("envs", "show", key[1], "--json").stdout)
    assert shown["manager"] == "conda"
    assert "tiny-1.0-0.conda#sha256:" in shown["resolved"]
    assert "flask==" in shown["resolved"]
    inside = run("envs", "run", key[1], "--", "python", "-c", "import tiny; print(tiny.maker)")
    assert inside.stdout.strip() == "conda", inside.stderr
