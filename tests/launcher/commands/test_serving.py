"""``launcher serve`` in an environment of the model's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import requests

from envs import EnvStore
from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    invoke,
    serve_locally,
)

Launch = Callable[..., Launcher]
Run = Callable[..., subprocess.CompletedProcess[str]]

ROWS = [[5.1, 3.5, 1.4, 0.2], [5.0, 2.0, 3.5, 1.0], [6.9, 3.2, 5.7, 2.3]]
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = {"predictions": ["setosa", "versicolor", "virginica"]}


def key_of(launcher: Launcher) -> str:
    return launcher.wait_for(r"environment (\w+) \(")[1]


def test_a_model_answers_from_an_environment_of_its_own_which_is_used_again(
    launch: Launch, iris: Path, tmp_path: Path
) -> None:
    first = launch("serve", "-m", iris, "-p", "0")
    url = first.ready()
    info = requests.get(f"{url}/info", timeout=60).json()
    assert re.match(r"3\.11\.", info["python"])
    assert info["environment"] == {
        "env_manager": "virtualenv",
        "as_of": "2026-11-21",
        "key": key_of(first),
    }
    assert info["model"]["mlflow_version"] == "3.17.2"
    assert info["model"]["flavors"] == ["sklearn"]
    split = {"dataframe_split": {"columns": COLUMNS, "data": ROWS}}
    csv = "\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in ROWS)])
    assert invoke(url, split).json() == SPECIES
    assert invoke(url, csv, "text/csv").json() == SPECIES
    assert first.stop() == 0

    copy = tmp_path / "a folder with spaces"
    shutil.copytree(iris, copy)
    second = launch("serve", "-m", copy.as_uri(), "-p", "0", "--env-manager", "uv")
    assert invoke(second.ready(), split).json() == SPECIES
    assert key_of(second) == key_of(first)
    assert "reused" in second.output
    assert "installing" not in second.output
    assert "resolving" not in second.output
    assert second.stop() == 0


def test_the_interpreter_is_the_environment_s_and_sees_no_other_packages(
    launch: Launch, obedient: ObedientModel
) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.16.0\n")
    launcher = launch("serve", "-m", obedient.path, "-p", "0")
    url = launcher.ready()
    python, prefix, *path = invoke(url, command("sys")).json()["predictions"]
    environment = EnvStore().find(key_of(launcher))
    assert environment is not None
    assert Path(python) == environment.python
    assert Path(prefix) == environment.path
    assert [entry for entry in path if "site-packages" in entry] == [
        str(next(environment.path.glob("lib/python*/site-packages")))
    ]
    launcher.stop()


def test_the_curl_line_that_is_printed_works(launch: Launch, iris: Path) -> None:
    launcher = launch("serve", "-m", iris, "-p", "0")
    line = launcher.wait_for("^try:   (curl .*)")[1]
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"predictions": ["setosa", "versicolor"]}
    launcher.stop()


def test_one_changed_requirement_gives_another_key(run: Run, iris: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(iris, copy)

    def key() -> str:
        plan = run("serve", "-m", copy, "--dry-run")
        assert plan.returncode == 0, plan.stderr
        found = re.search(r"^environment +(\w+) ", plan.stdout, re.MULTILINE)
        assert found
        return found[1]

    before = key()
    requirements = copy / "requirements.txt"
    requirements.write_text(requirements.read_text() + "\n\n# a comment\n")
    assert key() == before
    requirements.write_text(requirements.read_text().replace("cloudpickle==3.1.2", "cloudpickle"))
    assert key() != before


def test_a_dry_run_prints_the_plan_and_does_nothing(run: Run, obedient: ObedientModel) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.13.0\n")
    plan = run("serve", "-m", obedient.path, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert str(obedient.path) in plan.stdout
    assert "to be built" in plan.stdout
    assert "six==1.13.0" in plan.stdout
    assert re.search(r"^command +/\S+/bin/python \S+scoring_server", plan.stdout, re.MULTILINE)
    assert not Path(re.search(r"^path +(\S+)", plan.stdout, re.MULTILINE)[1]).exists()  # type: ignore[index]


def test_environment_variables_of_mlflow_count_where_no_flag_is_given(
    launch: Launch, obedient: ObedientModel
) -> None:
    environ = {"MLFLOW_PORT": "0", "MLFLOW_MODELS_WORKERS": "2", "MLFLOW_HOST": "127.0.0.1"}
    launcher = launch("serve", "-m", obedient.path, "--no-conda", environ=environ)
    launcher.ready()
    assert "--no-conda is deprecated" in launcher.output
    launcher.wait_for_descendants(3)  # the server and two workers
    assert launcher.stop() == 0


def test_the_timeout_of_mlflow_s_variable_is_kept(launch: Launch, obedient: ObedientModel) -> None:
    obedient.hold("predict")
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
        environ={"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "1"},
    )
    answer = invoke(launcher.ready(), command("meet"))
    assert answer.status_code == 504
    launcher.stop()


def test_local_names_what_is_missing_or_differs_in_one_warning(
    launch: Launch, obedient: ObedientModel
) -> None:
    (obedient.path / "requirements.txt").write_text("no-such-package==1.0\nclick==7.0\nflask\n")
    launcher = launch("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    launcher.ready()
    warnings = [line for line in launcher.lines if "warning:" in line]
    assert len(warnings) == 1
    assert "no-such-package==1.0 (here: missing)" in warnings[0]
    assert re.search(r"click==7.0 \(here: \d", warnings[0])
    assert "flask (" not in warnings[0]
    launcher.stop()


def test_local_names_the_package_that_an_import_misses(run: Run, obedient: ObedientModel) -> None:
    loader = obedient.path / "code" / "obedient_model.py"
    loader.write_text("import sklearn_that_is_not_there\n" + loader.read_text())
    done = run("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    assert done.returncode == 4
    assert "sklearn_that_is_not_there" in done.stderr.split("Error: ")[1]
    assert "-m pip install" in done.stderr.split("Error: ")[1]


def test_help_imports_nothing_slow() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "launcher", "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    slow = {"pandas", "numpy", "flask", "virtualenv", "requests", "uv", "yaml", "rich"}
    assert not imported & slow
    assert "serve" in done.stdout


AT_THE_START_OF_THE_SERVER = """
import dataclasses, os, subprocess, sys

make, compiled = dataclasses._process_class, []

def noted(kind, *arguments):
    compiled.append(f"{kind.__module__}.{kind.__name__}")
    return make(kind, *arguments)

dataclasses._process_class = noted
from launcher.cli.main import main
from launcher.supervision import process as server_process

def start(*_arguments, **_options):
    print(*sys.modules)
    print(*compiled, flush=True)
    os._exit(0)

server_process.subprocess.Popen = start
main(["serve", "-m", sys.argv[1], "-p", "0"])
"""
# Modules of ours, rooms first.
NEEDED_TO_START = {
    f"{room}.{name}"
    for room, names in {
        "envs": "building disk errors managers pip plan preparing spec store",
        "envs.building": "context environ interpreters log",
        "envs.disk": "files home keyed_cache locks yaml_file",
        "envs.managers": "manager registry virtualenv",
        "envs.managers.virtualenv": "manager planning",
        "envs.pip": "indexes requirements_file wanted",
        "envs.store": "manifest store",
        "launcher": "artifacts cli commands console engines errors instances model quantities "
        "supervision",
        "launcher.artifacts": "local source uris",
        "launcher.cli": "installed main parsing serving",
        "launcher.cli.parsing": "command option_types options",
        "launcher.commands": "environment model_opening serving",
        "launcher.engines": "deployment engine registry scoring_server server_config",
        "launcher.instances": "control detaching presence registry run_folders systemd",
        "launcher.model": "mlmodel requirements",
        "launcher.supervision": "deployment inbox inherited_processes listening_socket log process "
        "served_model server stop_signals supervisor",
        "scoring_server": "container events version",
        "scoring_server.container": "cpu_limits sizes",
    }.items()
    for name in names.split()
}


def test_the_server_is_started_before_what_only_follows_it_is_imported(
    run: Run, iris: Path
) -> None:
    assert run("prepare-env", "-m", iris).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_START_OF_THE_SERVER, iris],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    modules, compiled = map(set, map(str.split, done.stdout.splitlines()))
    ours = {each for each in modules if each.startswith(("launcher.", "envs.", "scoring_server."))}
    assert "launcher.supervision.supervisor" in ours
    # Some milliseconds each: who adds one to what is imported here delays every start.
    assert ours - NEEDED_TO_START == set()
    slow = "pandas numpy flask virtualenv requests uv psutil rich filelock platformdirs packaging "
    slow += "asyncio email encodings.idna http logging shutil ssl tempfile traceback"
    assert not modules & set(slow.split())
    # A dataclass compiles its methods whenever it is imported: four times a NamedTuple's time.
    assert {each for each in compiled if each.startswith(("launcher.", "envs."))} <= {
        *("envs.building.context.Context", "envs.spec.EnvSpec", "envs.store.manifest.Environment"),
    }


@pytest.mark.parametrize("name", ["serve", "predict", "prepare-env", "ping"])
def test_every_command_has_a_line_of_help(name: str) -> None:
    from launcher.cli.main import main

    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.get_short_help_str(200)


def test_a_wrong_flag_is_bad_usage(run: Run) -> None:
    done = run("serve", "--modle", "x")
    assert done.returncode == 2
    assert "No such option" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-batch-rows", "automatic"], "neither a number of rows nor 'auto'"),
        (["--batch-tolerance", "1e-9"], "--batch-tolerance is for --max-batch-rows auto"),
        (["--max-batch-rows", "auto", "--threads", "2"], "--threads do not go together"),
    ],
)
def test_batching_that_cannot_be_is_bad_usage(
    run: Run, iris: Path, flags: list[str], message: str
) -> None:
    done = run("serve", "-m", iris, "-p", "0", *flags)
    assert done.returncode == 2
    assert message in done.stderr


def test_info_names_no_path_of_this_machine_without_debug(
    launch: Launch, obedient: ObedientModel
) -> None:
    plain = serve_locally(launch, obedient)
    debug = launch("--debug", "serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    assert str(obedient.path) not in requests.get(f"{plain.ready()}/info", timeout=60).text
    assert str(obedient.path) in requests.get(f"{debug.ready()}/info", timeout=60).text
    plain.stop()
    debug.stop()
