"""The page for those who come from `mlflow models` has all that the real, newest MLflow has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.scoring_server.environments import ORACLE, build, newest_mlflow
from tests.scoring_server.serving_process import script_environment

PAGE = Path(__file__).resolve().parents[1] / "docs" / "migrating.md"
# What each command takes; the variables of these options, and those that MLflow's modules which
# serve, predict, build environments and images name.
DESCRIBE = """
import json
import re
from pathlib import Path

import mlflow
from mlflow import environment_variables
from mlflow.models.cli import commands

found, variables = [], set()
for name, command in commands.commands.items():
    found.append(name)
    for each in command.params:
        if each.opts[0].startswith("-"):
            found.append(name + " " + max(each.opts, key=len))
        variables.update([each.envvar] if each.envvar else [])
kind = environment_variables._EnvironmentVariable
known = {each.name for each in vars(environment_variables).values() if isinstance(each, kind)}
folder = Path(mlflow.__file__).parent
modules = ["models/cli.py", "models/docker_utils.py", "pyfunc/__init__.py", "pyfunc/backend.py"]
modules += ["utils/virtualenv.py", "utils/conda.py"]
files = [folder / name for name in modules]
for name in ("models/container", "pyfunc/scoring_server"):
    files += (folder / name).glob("*.py")
for file in files:
    words = re.findall("[A-Z_][A-Z_0-9]+", file.read_text())
    variables.update(word for word in words if word in known | {"DISABLE_NGINX"} and word[0] != "_")
print(json.dumps([mlflow.__version__, found, sorted(variables)]))
"""


@pytest.mark.slow
def test_each_command_option_and_variable_of_mlflow_has_its_row(launcher_home: Path) -> None:
    python = build(launcher_home, None, ORACLE)
    environ = script_environment(launcher_home)
    environ["PYTHONPATH"] = str(newest_mlflow(python, launcher_home))
    done = subprocess.run(
        [python, "-c", DESCRIBE], env=environ, stdout=subprocess.PIPE, text=True, check=True
    )
    version, commands, variables = json.loads(done.stdout.splitlines()[-1])
    page = PAGE.read_text(encoding="utf-8")
    assert tuple(map(int, version.split(".")[:2])) >= (3, 18)
    rows = re.findall(r"^\| `([a-z][^`]*)` \|", page, re.MULTILINE)
    assert len(commands) > 30
    assert set(commands) - set(rows) == set(), f"MLflow {version} has these"
    assert set(rows) - set(commands) == set(), f"MLflow {version} has not"
    named = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", page))
    assert len(variables) > 12
    assert set(variables) - named == set(), f"MLflow {version} reads these"
