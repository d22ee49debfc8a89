"""Every real model's environment, as of the day it was logged, and the model loads in it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from envs import EnvError, EnvStore, prepare
from envs.building.environ import clean_environ
from launcher.commands.environment import EnvironmentOptions, environment_spec
from launcher.engines.scoring_server import ScoringServer
from launcher.model.mlmodel import read_model

LOAD = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"


@pytest.mark.slow
def test_every_model_gets_its_environment_and_loads(
    real_models: Path, launcher_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EnvStore(launcher_home)
    table = [f"{'model':<32} {'Python':<8} {'packages':>8} {'cold s':>7} {'warm s':>7}  as of"]
    failed = []
    for path in sorted(real_models.iterdir()):
        if not (path / "MLmodel").is_file():
            continue
        model = read_model(path)
        spec = environment_spec(model, EnvironmentOptions(as_of="auto"), ScoringServer())
        try:
            started = time.perf_counter()
            built = prepare(spec, store=store, python_downloads=False)
            cold = time.perf_counter() - started
            started = time.perf_counter()
            assert prepare(spec, store=store).reused
            warm = time.perf_counter() - started
        except EnvError as error:
            if error.message.startswith("There is no Python"):
                table.append(f"{path.name:<32} {error.message[:40]}")
            else:
                failed.append(f"{path.name}: {error}")
            continue
        wanted = model.requirements.python
        assert wanted is None or built.python_version.startswith(".".join(wanted.split(".")[:2]))
        loaded = subprocess.run(
            [built.python, "-c", LOAD, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environ({"PYTHONDONTWRITEBYTECODE": "1"}),
        )
        if loaded.returncode != 0:
            failed.append(f"{path.name}: {loaded.stderr.strip().splitlines()[-1]}")
        note = f" ({'; '.join(built.notes)})" if built.notes else ""
        table.append(
            f"{path.name:<32} {built.python_version:<8} {len(built.packages):>8}"
            f" {cold:>7.1f} {warm:>7.3f}  {spec.resolution_date()}{note}"
        )
    with capsys.disabled():
        print("\n" + "\n".join(table))
    assert failed == []
