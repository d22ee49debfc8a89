"""What MLServer is told, and what is refused before anything is built."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from launcher.commands.environment import EnvironmentOptions, environment_spec
from launcher.engines.engine import Assignment, Identity, ServerOptions
from launcher.engines.mlserver.engine import MLServer
from launcher.errors import UsageError
from launcher.model.mlmodel import read_model
from tests.launcher.launcher_process import ObedientModel

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]
OURS = "launcher's own server needs nothing of this in the environment"


def ask_for(model: ObedientModel, *requirements: str, python: str = "3.11.7") -> None:
    """Have the model declare its environment, as of a day on which all of it is there."""
    (model.path / "requirements.txt").write_text("\n".join(requirements) + "\n")
    (model.path / "python_env.yaml").write_text(
        f"python: {python}\ndependencies:\n- -r requirements.txt\n"
    )
    mlmodel = model.path / "MLmodel"
    mlmodel.write_text(mlmodel.read_text() + "utc_time_created: '2026-06-01 12:00:00.000000'\n")


def test_options_in_its_words(obedient: ObedientModel, tmp_path: Path) -> None:
    model = read_model(obedient.path)
    options = ServerOptions(
        host="127.0.0.1", port=5001, workers=3, timeout=2.5, graceful_timeout=7.5,
        max_batch_rows=16, batch_wait=0.005, log_format="json",
    )  # fmt: skip
    folder = tmp_path / "deployment-1"
    engine = MLServer()
    engine.check(model, options)
    assignment = Assignment(model, "uri", {}, options, Identity(("obedient one", "other")))
    engine.configure(assignment, folder, restarts=0, reloads=0)
    settings = json.loads((folder / "settings.json").read_text())
    assert settings.pop("grpc_port") > 0
    assert settings == {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": 5001,
        "metrics_endpoint": None,
        "parallel_workers": 3,
        "parallel_workers_timeout": 8,
        "use_structured_logging": True,
        "metrics_dir": str(folder / ".metrics"),
        "environments_dir": str(folder / ".envs"),
    }
    assert json.loads((folder / "obedient-one" / "model-settings.json").read_text()) == {
        "name": "obedient-one",
        "implementation": "timed_runtime.TimedRuntime",
        "max_batch_size": 16,
        "max_batch_time": 0.005,
        "parameters": {"uri": str(obedient.path), "extra": {"timeout": 2.5}},
    }
    assert (folder / "obedient-one" / "timed_runtime.py").is_file()
    command = engine.command(Path("/python"), folder, assignment)
    assert command.folder == folder
    assert command.ping_path == "/v2/models/obedient-one/ready"


def test_without_a_time_limit_the_runtime_is_its_own(
    obedient: ObedientModel, tmp_path: Path
) -> None:
    model = read_model(obedient.path)
    assignment = Assignment(model, "uri", {}, ServerOptions(timeout=None))
    MLServer().configure(assignment, tmp_path, restarts=0, reloads=0)
    settings = json.loads((tmp_path / "obedient" / "model-settings.json").read_text())
    assert settings["implementation"] == "mlserver_mlflow.MLflowRuntime"
    assert settings["parameters"] == {"uri": str(obedient.path)}


def test_an_environment_is_resolved_as_of_a_day_that_has_it(obedient: ObedientModel) -> None:
    mlmodel = obedient.path / "MLmodel"
    mlmodel.write_text(mlmodel.read_text() + "utc_time_created: '2023-05-10 12:00:00.000000'\n")
    (obedient.path / "python_env.yaml").write_text("python: '>=3.10'\ndependencies: []\n")
    spec = environment_spec(read_model(obedient.path), EnvironmentOptions(), MLServer())
    assert spec.server_requirements[0] == "mlserver==1.7.1"
    assert spec.python == ">=3.10,>=3.9,<3.13"
    assert "numpy<2" in spec.server_requirements
    assert spec.logged_at == datetime(2025, 6, 6, tzinfo=timezone.utc)
    model, options = read_model(obedient.path), EnvironmentOptions(as_of="2025-01-01")
    with pytest.raises(UsageError, match="is from 2025-06-06, later than --as-of 2025-01-01"):
        environment_spec(model, options, MLServer())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--token-file", "x"], "The engine mlserver has no --token-file."),
        (["--tls-cert", "x"], "The engine mlserver has no --tls-cert."),
        (["--max-held", "1GB"], "The engine mlserver has no --max-held."),
        (["--watch", "5"], "The engine mlserver has no --watch: it cannot reload beside"),
        (["--max-batch-rows", "8"], "--max-batch-rows needs --batch-wait."),
        (["--batch-wait", "8"], "--batch-wait needs --max-batch-rows"),
        (["--max-batch-rows", "auto"], "MLServer does not compare what it stacks"),
        (["--host", "::1"], "MLServer cannot serve on the IPv6 address ::1."),
        (["--env-manager", "local"], "The Python that runs the launcher has no mlserver."),
    ],
)
def test_what_it_has_not_is_refused(
    run: Run, obedient: ObedientModel, flags: list[str], message: str
) -> None:
    done = run("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver", *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "environment " not in done.stderr


@pytest.mark.parametrize("command", ["serve", "prepare-env"])
def test_a_python_that_it_does_not_run_on_is_named(
    run: Run, obedient: ObedientModel, command: str
) -> None:
    ask_for(obedient, python="3.13.1")
    done = run(command, "-m", obedient.path, "--enable-mlserver")
    assert done.returncode == 2
    expected = "mlserver==1.7.1 needs Python >=3.9,<3.13, but python_env.yaml has python: 3.13.1."
    assert expected in done.stderr
    assert OURS in done.stderr


def test_the_python_of_a_conda_yaml_is_named(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "conda.yaml").write_text(
        "channels: [conda-forge]\ndependencies:\n- python=3.8.13\n- pip: [six]\n"
    )
    done = run(
        "serve", "-m", obedient.path, "-p", "0", "--enable-mlserver", "--env-manager", "conda"
    )
    assert done.returncode == 2
    assert "needs Python >=3.9,<3.13, but conda.yaml has python=3.8.13." in done.stderr


def test_the_pin_that_excludes_it_is_named(
    run: Run, obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    ask_for(obedient, "six==1.16.0", "fastapi==0.120.0")
    ask = ("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver")
    for flags in ((), ("--dry-run",)):
        done = run(*ask, *flags, env=env(fresh_home))
        assert (done.returncode, done.stdout) == (2, "")
        expected = "mlserver==1.7.1 and fastapi==0.120.0 of requirements.txt exclude each other: "
        assert expected in done.stderr
        assert "<0.116" in done.stderr
        assert OURS in done.stderr
        assert not (Path(fresh_home["LAUNCHER_HOME"]) / "envs").exists()


def test_a_plan_refuses_what_the_engine_has_not(run: Run, obedient: ObedientModel) -> None:
    ask = ("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver")
    for flags in ((), ("--dry-run",)):
        done = run(*ask, "--max-batch-rows", "auto", *flags)
        assert (done.returncode, done.stdout) == (2, "")
        assert "it has no --max-batch-rows auto" in done.stderr


def test_a_plan_says_where_the_pins_cannot_be_known(
    run: Run, obedient: ObedientModel, tmp_path: Path
) -> None:
    ask_for(obedient, "six==1.16.0", "fastapi==0.120.0")
    nothing = {"LAUNCHER_HOME": str(tmp_path / "home"), "UV_CACHE_DIR": str(tmp_path / "cache")}
    ask = ("serve", "-m", obedient.path, "--enable-mlserver", "--dry-run")
    done = run(*ask, "--offline", env=env(nothing))
    assert done.returncode == 0, done.stderr
    assert "requirement   fastapi==0.120.0" in done.stdout
    unknown = "whether mlserver==1.7.1 can be beside the model's requirements is unknown: "
    assert unknown in done.stderr


def test_the_pin_of_a_lockfile_is_named(run: Run, obedient: ObedientModel) -> None:
    ask_for(obedient, "fastapi")
    (obedient.path / "pylock.toml").write_text(
        """
lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "fastapi"
version = "0.120.0"
wheels = [{ url = "https://localhost/fastapi-0.120.0-py3-none-any.whl", hashes = { sha256 = "0" } }]
"""
    )
    done = run("prepare-env", "-m", obedient.path, "--enable-mlserver")
    assert done.returncode == 2
    expected = "mlserver==1.7.1 and fastapi==0.120.0 of pylock.toml exclude each other: "
    assert expected in done.stderr


def test_the_pin_of_a_conda_yaml_is_named(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "conda.yaml").write_text(
        "channels: [conda-forge]\ndependencies:\n- python=3.11.7\n- protobuf=3.20\n- pip: [six]\n"
    )
    done = run("prepare-env", "-m", obedient.path, "--enable-mlserver", "--env-manager", "conda")
    assert done.returncode == 2
    assert "mlserver==1.7.1 and protobuf==3.20.* of conda.yaml exclude each other" in done.stderr
    assert "protobuf>=5.27.2" in done.stderr


def env(added: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **added}
