"""The door for engines: ours, one from outside, and what an engine refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.commands.environment import EnvironmentOptions, environment_spec
from launcher.engines.engine import Assignment, ServerOptions, refuse_options
from launcher.engines.scoring_server import ScoringServer, write_config
from launcher.errors import UsageError
from launcher.model.mlmodel import read_model
from scoring_server.config import EnvironmentConfig, ModelConfig, ServerConfig, ServerSettings
from tests.launcher.engines.toy_engine import Toy
from tests.launcher.launcher_process import Launcher, ObedientModel, invoke, wait_until_gone

Launch = Callable[..., Launcher]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
TOY = Path(__file__).with_name("toy_engine.py")


@pytest.fixture
def toy_model(obedient: ObedientModel) -> Path:
    path = obedient.path / "MLmodel"
    path.write_text(path.read_text() + "  toy: {}\n")
    return obedient.path


def toy(*arguments: str | Path) -> tuple[str, ...]:
    root = Path(__file__).parents[3]
    script = f"import sys; sys.path.insert(0, {str(root)!r}); import runpy; "
    script += f"runpy.run_path({str(TOY)!r}, run_name='__main__')"
    return (sys.executable, "-c", script, *map(str, arguments))


def test_an_engine_from_outside_serves_and_is_supervised(launch: Launch, toy_model: Path) -> None:
    launcher = launch(
        *("serve", "-m", toy_model, "-p", "0", "--env-manager", "local", "--enable-mlserver"),
        command=toy(),
    )
    url = launcher.ready()
    expected = {"predictions": [1, 2], "model": "obedient"}
    assert invoke(url, {"inputs": [1, 2]}).json() == expected
    [server] = launcher.descendants()
    launcher.send(signal.SIGHUP)
    launcher.wait_for("not reloaded, .* cannot start a second server beside the first")
    server.kill()
    launcher.wait_for("was killed by SIGKILL; restarting it")
    while launcher.lines.count(f"ready: {url}") < 2:
        assert launcher.process.poll() is None
    assert invoke(url, {"inputs": [3]}).json()["predictions"] == [3]
    assert launcher.stop() == 0


def test_an_engine_that_knows_of_no_lifeline_ends_with_the_launcher(
    launch: Launch, toy_model: Path
) -> None:
    launcher = launch(
        *("serve", "-m", toy_model, "-p", "0", "--env-manager", "local", "--enable-mlserver"),
        command=toy(),
    )
    launcher.ready()
    [server] = launcher.descendants()
    server.suspend()
    launcher.process.kill()
    wait_until_gone([server])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-batch-rows", "8"], "The engine toy has no --max-batch-rows."),
        (["--token-file", "x"], "The engine toy has no --token-file."),
        ([], "has no toy flavor."),
    ],
)
def test_what_an_engine_cannot_do_is_refused_before_a_build(
    obedient: ObedientModel, flags: list[str], message: str
) -> None:
    done = subprocess.run(
        toy("serve", "-m", obedient.path, "-p", "0", "--enable-mlserver", *flags),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert "environment" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "predict", "prepare-env", "lock"])
def test_a_model_without_python_function_is_refused_before_a_build(
    run: Run, obedient: ObedientModel, command: str
) -> None:
    (obedient.path / "MLmodel").write_text("flavors:\n  spark: {model_data: sparkml}\n")
    done = run(command, "-m", obedient.path)
    assert done.returncode == 2
    assert "has no python_function flavor (it has: spark)." in done.stderr
    assert "environment" not in done.stderr
    assert "resolving" not in done.stderr


def test_what_an_engine_needs_joins_the_environment(toy_model: Path) -> None:
    model = read_model(toy_model)
    assert environment_spec(model, EnvironmentOptions(), Toy()).server_requirements == ("six",)
    ours = environment_spec(model, EnvironmentOptions(install_mlflow=True), ScoringServer())
    assert "flask>=1.0" in ours.server_requirements
    assert ours.younger == ("orjson=2026-11-01",)
    assert [path.name for path in ours.copied_packages] == ["scoring_server"]


def test_our_server_has_all_options() -> None:
    refuse_options(ScoringServer(), ServerOptions(token_file=Path("x"), max_batch_rows=3))
    with pytest.raises(UsageError, match="has no --threads"):
        refuse_options(Toy(), ServerOptions(threads=2))


def test_both_sides_know_the_same_fields(obedient: ObedientModel, tmp_path: Path) -> None:
    """What the launcher writes is what the scoring server reads, field by field."""
    environment = {"env_manager": "local", "as_of": None, "key": "0", "python": "3.11"}
    environment["r"] = None
    assignment = Assignment(read_model(obedient.path), "uri", environment, ServerOptions())
    write_config(tmp_path / "config.json", assignment, restarts=1, reloads=2)
    written = json.loads((tmp_path / "config.json").read_text())
    kinds = {"model": ModelConfig, "environment": EnvironmentConfig, "server": ServerSettings}
    assert set(written) == set(ServerConfig._fields)
    for part, kind in kinds.items():
        assert set(written[part]) == set(kind._fields), part
    read = ServerConfig.read(str(tmp_path / "config.json"))
    assert (read.server.restarts, read.server.reloads) == (1, 2)
    assert (read.server.processors or 0) >= 1
    for name, default in ServerSettings._field_defaults.items():
        if name in ServerOptions._fields:
            assert default == getattr(ServerOptions(), name), name
