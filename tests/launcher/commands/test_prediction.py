"""``launcher predict``: files and streams, formats, failures that leave nothing."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import Launcher, ObedientModel

Run = Callable[..., subprocess.CompletedProcess[str]]

CSV = """sepal_length,sepal_width,petal_length,petal_width
5.1,3.5,1.4,0.2
5.0,2.0,3.5,1.0
6.9,3.2,5.7,2.3
"""
SPECIES = ["setosa", "versicolor", "virginica"]


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.csv"
    path.write_text(CSV)
    return path


def test_csv_to_csv(run: Run, iris: Path, flowers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    done = run("predict", "-m", iris, "-i", flowers, "-o", output)
    assert done.returncode == 0, done.stderr
    assert output.read_text().split()[-3:] == SPECIES
    assert done.stdout == ""


def test_csv_to_json_is_mlflow_s(run: Run, obedient: ObedientModel, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.json"
    source.write_text("command\nhello\n")
    local = ("-m", obedient.path, "--env-manager", "local")
    done = run("predict", *local, "-i", source, "-o", output)
    assert done.returncode == 0, done.stderr
    assert json.loads(output.read_text()) == {"predictions": ["done"]}


@pytest.mark.slow
def test_csv_to_parquet(run: Run, iris: Path, flowers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    done = run("predict", "-m", iris, "-i", flowers, "-o", output)
    assert done.returncode == 0, done.stderr
    # pyarrow is the environment's, hence read there.
    environment = run("prepare-env", "-m", iris).stdout.split()[1]
    script = "import pandas, sys; print(pandas.read_parquet(sys.argv[1]).iloc[:, 0].tolist())"
    python = Path(environment) / "bin" / "python"
    read = subprocess.run(
        [python, "-c", script, output], capture_output=True, text=True, check=True
    )
    assert read.stdout.strip() == str(SPECIES)


def test_the_json_of_the_server_is_the_json_of_predict(run: Run, iris: Path) -> None:
    example = (iris / "serving_input_example.json").read_text()
    done = run("predict", "-m", iris, input=example)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"predictions": SPECIES}


def test_standard_output_is_the_answer_and_not_what_the_model_prints(
    run: Run, obedient: ObedientModel
) -> None:
    loader = obedient.path / "code" / "obedient_model.py"
    loader.write_text("print('loud')\n" + loader.read_text())
    done = run(
        *("predict", "-m", obedient.path, "--env-manager", "local", "-t", "csv"),
        input="command\nhello\n",
    )
    assert json.loads(done.stdout) == {"predictions": ["done"]}
    assert "loud" in done.stderr


@pytest.mark.parametrize(
    ("command", "words", "code"),
    [("raise", "ValueError: told to", 2), ("segfault", "killed by SIGSEGV", 5)],
)
def test_a_failure_leaves_no_output(
    run: Run, obedient: ObedientModel, tmp_path: Path, command: str, words: str, code: int
) -> None:
    (tmp_path / "in.csv").write_text(f"command\n{command}\n")
    results = tmp_path / "results"
    results.mkdir()
    (results / "out.csv").write_text("what was there before")
    done = run(
        *("predict", "-m", obedient.path, "--env-manager", "local"),
        *("-i", tmp_path / "in.csv", "-o", results / "out.csv"),
    )
    assert done.returncode == code
    assert words in done.stderr
    assert [path.name for path in results.iterdir()] == ["out.csv"]
    assert (results / "out.csv").read_text() == "what was there before"


def test_a_stop_leaves_no_output(
    launch: Callable[..., Launcher], obedient: ObedientModel, tmp_path: Path
) -> None:
    obedient.hold("predict")
    (tmp_path / "in.csv").write_text("command\nmeet\n")
    results = tmp_path / "results"
    results.mkdir()
    launcher = launch(
        *("predict", "-m", obedient.path, "--env-manager", "local"),
        *("-i", tmp_path / "in.csv", "-o", results / "out.csv"),
    )
    obedient.wait_until_held("predict")
    launcher.send(signal.SIGINT)
    assert launcher.wait() == 128 + signal.SIGINT
    assert list(results.iterdir()) == []


SEES = """
import os


class Model:
    def predict(self, data):
        return [f"{os.environ.get('SEEN')}, {value}" for value in data.iloc[:, 0]]


def _load_pyfunc(path):
    return Model()
"""


def test_lines_compression_streams_and_variables(
    run: Run, obedient: ObedientModel, tmp_path: Path
) -> None:
    (obedient.path / "code" / "obedient_model.py").write_text(SEES)
    source, target = tmp_path / "in.jsonl.gz", tmp_path / "out.ndjson.bz2"
    source.write_bytes(gzip.compress(b'{"command": "one"}\n{"command": "two"}\n'))
    options = ("predict", "-m", obedient.path, "--env-manager", "local", "--env", "SEEN=a=b")
    done = run(*options, "-i", source, "-o", target)
    assert done.returncode == 0, done.stderr
    lines = bz2.decompress(target.read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == ["a=b, one", "a=b, two"]

    csv = "command\none\n"
    done = run(*options, "-i", "-", "-t", "csv", "-o", "-", "--output-format", "csv", input=csv)
    assert done.stdout == 'predictions\n"a=b, one"\n'
    assert not Path("-").exists()

    damaged = run(*options, "-i", source, "-t", "csv")
    assert damaged.returncode == 0  # what is asked for counts more than an extension
    source.write_bytes(source.read_bytes()[:-12])
    damaged = run(*options, "-i", source, "-o", target)
    assert damaged.returncode == 2
    assert "The input is not whole gz data" in damaged.stderr
    assert "Traceback" not in damaged.stderr
    assert bz2.decompress(target.read_bytes()).decode().splitlines() == lines

    assert run(*options, "--env", "SEEN").returncode == 2


def test_what_names_no_format_is_told_how_it_was_read(
    run: Run, obedient: ObedientModel, tmp_path: Path
) -> None:
    (tmp_path / "rows").write_text("command\nhello\n")
    done = run("predict", "-m", obedient.path, "--env-manager", "local", "-i", tmp_path / "rows")
    assert done.returncode == 2
    assert f"{tmp_path / 'rows'} was read as JSON" in done.stderr
    assert "-t" in done.stderr


def test_requirements_are_overridden_in_an_environment_of_their_own(
    run: Run, obedient: ObedientModel
) -> None:
    (obedient.path / "requirements.txt").write_text("six==1.15.0\n")
    (obedient.path / "code" / "obedient_model.py").write_text(
        SEES.replace("import os\n", "import os, six\n").replace(
            "os.environ.get('SEEN')", "six.__version__"
        )
    )
    arguments = ("predict", "-m", obedient.path, "-t", "csv", "--output-format", "csv")
    done = run(*arguments, "-r", "six<1.17,>=1.16", input="command\nx\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'predictions\n"1.16.0, x"\n'
    for override, manager in (("six==", "virtualenv"), ("six", "local")):
        refused = run(*arguments, "-r", override, "--env-manager", manager, input="")
        assert refused.returncode == 2
        assert "Error: " in refused.stderr


def test_input_that_is_not_there(run: Run, iris: Path) -> None:
    done = run("predict", "-m", iris, "-i", "no-such.csv")
    assert done.returncode == 2
    assert "no-such.csv is not a file" in done.stderr


def test_input_that_does_not_fit(run: Run, iris: Path, tmp_path: Path) -> None:
    # With the signature, and without MLflow and scikit-learn, whose environment it would start.
    loader = "class Model:\n    predict = len\n\ndef _load_pyfunc(path):\n    return Model()\n"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "loader_of_none.py").write_text(loader)
    signature = (iris / "MLmodel").read_text().partition("\nsignature:")[2]
    flavor = "flavors:\n  python_function:\n    loader_module: loader_of_none\n    code: code\n"
    (tmp_path / "MLmodel").write_text(f"{flavor}signature:{signature}")
    done = run(
        *("predict", "-m", tmp_path, "--env-manager", "local", "-t", "csv"),
        input="sepal_length\n5.1\n",
    )
    assert done.returncode == 2
    assert "petal_width" in done.stderr
    assert "Traceback" not in done.stderr


ECHO = """
class Model:
    def predict(self, data):
        return data["x0"]


def _load_pyfunc(path):
    return Model()
"""

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_large_file_is_scored_in_chunks(obedient: ObedientModel, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    filler = ",".join(f"{number}.25" for number in range(40))
    (obedient.path / "code" / "obedient_model.py").write_text(ECHO)
    with source.open("w") as file:
        file.write(",".join(f"x{number}" for number in range(40)) + "\n")
        for _ in range(2_000_000):
            file.write(filler + "\n")
    megabytes = source.stat().st_size >> 20
    assert megabytes > 400
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, "-m", "launcher", "predict",
         "-m", obedient.path, "--env-manager", "local", "-i", source, "-o", output],
        capture_output=True, text=True, check=True, env=dict(os.environ),
    )  # fmt: skip
    assert int(done.stdout) < megabytes
    with output.open() as file:
        assert sum(1 for _ in file) == 2_000_001
