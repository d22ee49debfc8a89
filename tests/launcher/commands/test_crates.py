"""R's crates on the launcher's command line: made by R, served, scored, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import yaml

from tests.envs.conda.channel import Channel, Package, data_package, pip_package, python_package
from tests.launcher.launcher_process import Launcher, invoke
from tests.launcher.launcher_process import run_with as run
from tests.scoring_server.crates.crates import RSCRIPT, make_crates, needs_r, run_r

pytestmark = needs_r

ROWS = {"dataframe_split": {"columns": ["wt", "hp"], "data": [[3, 100], [2.5, 200]]}}
PYTHON_MODEL = "class Model:\n    def predict(self, data):\n        return ['python'] * len(data)\n"
PYTHON_MODEL += "\n\ndef _load_pyfunc(path):\n    return Model()\n"


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_crates(tmp_path_factory.mktemp("crates"))


@pytest.fixture(scope="module")
def by_hand(crates: Path) -> list[float]:
    """What the crate "lm" answers to ROWS in R."""
    text = run_r(
        "fn <- unserialize(readRDS(commandArgs(TRUE)[[1]]));"
        "cat(sprintf('%a', fn(data.frame(wt = c(3, 2.5), hp = c(100, 200)))))",
        crates / "lm" / "crate.bin",
    )
    return [float.fromhex(each) for each in text.split()]


def test_a_crate_is_served_and_reloaded(
    launch: Callable[..., Launcher], crates: Path, by_hand: list[float], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(crates / "lm", model)
    launcher = launch("serve", "-m", model, "-p", "0", "-w", "2", "--name", "crate")
    url = launcher.ready()
    assert "crate, logged 2026-02-13" in launcher.output
    assert invoke(url, ROWS).json() == {"predictions": by_hand}
    info = requests.get(f"{url}/info", timeout=60).json()
    assert info["r"]["version"] == run_r("cat(as.character(getRversion()))")
    assert info["r"]["packages"]["jsonlite"] == run_r(
        "cat(as.character(packageVersion('jsonlite')))"
    )
    assert set(info["r"]) == {"version", "packages"}
    assert info["environment"]["env_manager"] == "local"
    assert info["model"]["flavors"] == ["crate"]
    metrics = requests.get(f"{url}/metrics", timeout=60).text
    assert 'launcher_requests_total{route="/invocations",status="200"} 1' in metrics
    shutil.copy(crates / "twice" / "crate.bin", model / "crate.bin")
    assert run("reload", "crate").returncode == 0
    launcher.wait_for("reloaded")
    assert invoke(url, {"inputs": {"x": [4]}}).json() == {"predictions": [8]}
    assert launcher.stop() == 0


def test_predict_scores_files(crates: Path, by_hand: list[float], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("wt,hp\n3,100\n2.5,200\n")
    done = run("predict", "-m", crates / "lm", "-i", tmp_path / "in.csv")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"predictions": by_hand}
    # What pandas would make a float of reaches R as it was sent.
    records = [{"x": 2**53 + 1}, {"x": None}]
    (tmp_path / "in.json").write_text(json.dumps({"dataframe_records": records}))
    done = run("predict", "-m", crates / "same", "-i", tmp_path / "in.json")
    assert done.returncode == 2
    assert "cannot hold exactly" in done.stderr


@pytest.fixture
def both(crates: Path, tmp_path: Path) -> Path:
    """A model with both flavors."""
    folder = tmp_path / "both"
    shutil.copytree(crates / "lm", folder)
    (folder / "code").mkdir()
    (folder / "code" / "both_model.py").write_text(PYTHON_MODEL)
    mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
    mlmodel["flavors"]["python_function"] = {"loader_module": "both_model", "code": "code"}
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))
    (folder / "requirements.txt").write_text("")
    return folder


def test_a_model_with_both_flavors(both: Path, by_hand: list[float], tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(ROWS))
    command = ["predict", "-m", both, "-i", tmp_path / "in.json", "--env-manager", "local"]
    for options, expected in (
        ([], ["python", "python"]),
        (["--flavor", "python_function"], ["python", "python"]),
        (["--flavor", "crate"], by_hand),
    ):
        done = run(*command, *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"predictions": expected}
    done = run("prepare-env", "-m", both, "--flavor", "crate", "--install-mlflow")
    # As a crate, and not as the python_function that it is, too.
    assert (done.returncode, "--install-mlflow is not for crates" in done.stderr) == (2, True)


def test_what_a_crate_cannot_have_is_refused(crates: Path) -> None:
    for options, words in (
        (["--threads", "2"], "R has one thread: use --workers."),
        (["--max-batch-rows", "10"], "Crates are not batched"),
        (["--batch-wait", "5"], "Crates are not batched"),
        (["--preload"], "Each worker has an R of its own"),
        (["--loader", "mlflow"], "R reads the crate itself"),
        (["--install-mlflow"], "R needs no MLflow"),
        (["--flavor", "python_function"], "has no python_function flavor (it has: crate)"),
        (["--env-manager", "conda"], "has no conda.yaml"),
        (["--enable-mlserver"], "MLServer serves models with the python_function flavor only"),
    ):
        done = run("serve", "-m", crates / "lm", "-p", "0", *options)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    done = run("lock", "-m", crates / "lm")
    assert (done.returncode, "A crate asks for no Python packages" in done.stderr) == (2, True)


def stand_in(folder: Path, *lines: str) -> Path:
    """A program that says what an R says; the real one cannot be had without jsonlite, or old."""
    path = folder / "bin" / "Rscript"
    path.parent.mkdir(parents=True)
    text = "\n".join(f"echo '{line}'" for line in lines)
    path.write_text(f"#!/bin/sh\necho Welcome\necho '-- R of the launcher --'\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_r_that_will_not_do_is_refused_with_what_to_do(crates: Path, tmp_path: Path) -> None:
    old = stand_in(tmp_path / "old", "3.4.4", "jsonlite 1.5")
    bare = stand_in(tmp_path / "bare", "4.1.0", "stats 4.1.0")
    for environ, words in (
        ({"PATH": str(tmp_path)}, "there is no Rscript by RSCRIPT, R_HOME or PATH"),
        ({"RSCRIPT": "/nowhere/Rscript"}, "RSCRIPT leads to /nowhere/Rscript"),
        ({"R_HOME": str(tmp_path / "none")}, "R_HOME leads to"),
        ({"RSCRIPT": str(old)}, "is R 3.4.4: crates need R 3.5 or newer"),
        ({"R_HOME": str(tmp_path / "bare")}, "lacks the package jsonlite"),
        ({"RSCRIPT": shutil.which("false") or ""}, "does not work"),
    ):
        done = run("prepare-env", "-m", crates / "lm", **environ)
        assert (done.returncode, words in done.stderr) == (3, True), done.stderr
        assert "apt-get" in done.stderr or "Debian" in done.stderr or "unset it" in done.stderr
    assert str(bare) in done.stderr or bare.is_file()
    done = run("prepare-env", "-m", crates / "lm")
    assert done.returncode == 0
    assert f"({RSCRIPT}, " in done.stderr


def test_a_crate_that_cannot_be_loaded(crates: Path, tmp_path: Path) -> None:
    done = run("serve", "-m", crates / "no_function", "-p", "0")
    assert done.returncode == 4, done.stderr
    assert "R cannot load the crate: it is no function, but of class crate" in done.stderr
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  crate:\n    model: crate.bin\n")
    done = run("serve", "-m", folder, "-p", "0")
    assert (done.returncode, "has no crate.bin" in done.stderr) == (2, True)
    (folder / "MLmodel").write_text("flavors:\n  crate:\n    model: ../lm/crate.bin\n")
    done = run("serve", "-m", folder, "-p", "0")
    assert (done.returncode, "points outside the model folder" in done.stderr) == (2, True)


@pytest.mark.slow
def test_r_of_a_conda_environment(
    launch: Callable[..., Launcher], crates: Path, by_hand: list[float], tmp_path: Path
) -> None:
    """The channel is the tests' own: its r-base is a program that runs this machine's R."""
    channel = Channel(tmp_path / "channel")
    python: Package = python_package()
    python.write(channel.folder)
    channel.add(
        pip_package(python),
        Package(
            "r-base",
            "4.2.2",
            noarch="generic",
            built="2019-01-01",
            files={"bin/Rscript": f'#!/bin/sh\nexec {RSCRIPT} "$@"\n'.encode()},
            executable=frozenset({"bin/Rscript"}),
        ),
        data_package("r-jsonlite", {"lib/R/library/jsonlite/here": "1"}),
    )
    model = tmp_path / "model"
    shutil.copytree(crates / "lm", model)
    # What runs crates need not be named.
    conda = {"channels": [channel.url], "dependencies": [f"python={python.version}", "r-base"]}
    (model / "conda.yaml").write_text(yaml.safe_dump(conda))
    launcher = launch(
        "serve", "-m", model, "-p", "0", "--env-manager", "conda",
        environ={"R_LIBS": "/nowhere", "RSCRIPT": "/nowhere"},
    )  # fmt: skip
    url = launcher.ready()
    assert invoke(url, ROWS).json() == {"predictions": by_hand}
    key = requests.get(f"{url}/info", timeout=60).json()["environment"]["key"]
    assert f"/{key}/env/bin/Rscript, " in launcher.output
    assert launcher.stop() == 0
    shown = json.loads(run("envs", "show", key, "--json").stdout)
    assert "r-jsonlite" in shown["resolved"]
