"""`launcher call` against a real server: a name, an address, files, params, refusals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.launcher_process import Launcher, ObedientModel, run_to_end, run_with

MODEL = """
import json

class Model:
    def predict(self, data, params=None):
        if "fail" in data:
            raise ValueError("told to")
        return [{"sum": float(a), "top": (params or {}).get("top_k")} for a in data["a"]]

def _load_pyfunc(path):
    return Model()
"""
SIGNATURE = """
signature:
  inputs: '[{"type": "double", "name": "a"}]'
  params: '[{"name": "top_k", "type": "long", "default": 1, "shape": null}]'
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A served model on a unix socket, behind a token; the folder of both."""
    folder = tmp_path_factory.mktemp("called")
    model = ObedientModel(folder / "model")
    (model.path / "code" / "obedient_model.py").write_text(MODEL)
    with (model.path / "MLmodel").open("a") as file:
        file.write(SIGNATURE)
    (folder / "token").write_text("sesame\n")
    launcher = Launcher(
        *("serve", "-m", model.path, "--env-manager", "local", "--uds", folder / "s"),
        *("--name", "called", "--token-file", folder / "token", "--max-body", "100000"),
    )
    try:
        launcher.wait_for("^ready: ")
        call("called")  # starts the process of the pages, which stays
        yield folder
    finally:
        assert launcher.stop() == 0


def call(*arguments: str | Path, **options: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("call", *arguments, **options)


def rows(done: subprocess.CompletedProcess[str]) -> list[list[object]]:
    assert done.returncode == 0, done.stderr
    return [list(row.values()) for row in json.loads(done.stdout)["predictions"]]


def test_a_name_is_enough(served: Path) -> None:
    table = served / "in.csv"
    table.write_text("a\n1\n2\n")
    assert rows(call("called", "-i", table)) == [[1.0, 1], [2.0, 1]]
    # The example that the server describes itself with.
    assert len(rows(call("called", "--json"))) >= 1
    document = json.dumps({"dataframe_split": {"columns": ["a"], "data": [[3]]}})
    assert rows(call("called", "-i", "-", input=document)) == [[3.0, 1]]
    more = call("called", "-i", "-", "--param", "top_k=3", input=document)
    assert rows(more) == [[3.0, 3]]
    assert rows(call("called", "-i", "-", "--params", '{"top_k": 4}', input=document)) == [[3.0, 4]]
    assert rows(call("called", "-i", table, "--gzip")) == [[1.0, 1], [2.0, 1]]
    lines = served / "in.jsonl"
    lines.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert rows(call("called", "-i", lines, "--param", "top_k=2")) == [[1.0, 2], [2.0, 2]]
    shown = call("called", "-i", table, "--output-format", "table").stdout.splitlines()
    assert [line.split() for line in shown] == [["sum", "top"], ["1.0", "1"], ["2.0", "1"]]
    assert call("called", "-i", table, "-o", served / "out.json").stdout == ""
    assert len(json.loads((served / "out.json").read_text())["predictions"]) == 2


def test_an_arrow_stream(served: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    table = pa.table({"a": [1.0, 2.0]})
    path = served / "in.arrows"
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    assert rows(call("called", "-i", path, "-t", "arrow")) == [[1.0, 1], [2.0, 1]]


def test_an_address_needs_the_token(served: Path) -> None:
    url = f"unix://{served / 's'}"
    refused = call(url, "-i", "-", "-t", "csv", input="a\n1\n")
    assert refused.returncode == 1
    assert "401 Unauthorized: A valid bearer token is needed. (request " in refused.stderr
    for given in (["--token", "sesame"], ["--token-file", served / "token"]):
        assert rows(call(url, "-i", "-", "-t", "csv", *given, input="a\n1\n")) == [[1.0, 1]]
    socket = str(served / "s").replace("/", "%2F")
    table = served / "one.csv"
    table.write_text("a\n1\n")
    done = run_with("call", f"http+unix://{socket}", "-i", str(table), LAUNCHER_TOKEN="sesame")
    assert rows(done) == [[1.0, 1]]


def test_refusals_are_one_line_and_leave_no_output(served: Path) -> None:
    done = call("called", "-i", "-", "-o", served / "no.json", input='{"instances": [{"b": 1}]}')
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The server refuses it: 400 Bad Request: ")
    assert "(request " in done.stderr.splitlines()[0]
    assert not (served / "no.json").exists()
    large = served / "large.csv"
    large.write_text("a\n" + "1\n" * 100_000)
    done = call("called", "-i", large)
    assert done.returncode == 1
    assert "413 Content Too Large" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nothing-of-this-name", "-i", __file__), 2, "Nothing named"),
        (("http://127.0.0.1:9", "-i", __file__), 4, "Nothing listens at http://127.0.0.1:9"),
        (("unix:///nowhere/s", "-i", __file__), 4, "Nothing listens at unix:///nowhere/s"),
        (("http://127.0.0.1:9", "-i", "rows.csv.gz"), 2, "is compressed"),
        (("http://127.0.0.1:9", "-i", __file__, "-t", "jsonl"), 2, "Line 1 of the input is not"),
        (("http://127.0.0.1:9", "-i", "missing.csv"), 2, "is not a file"),
        (("http://127.0.0.1:9", "-i", __file__, "-t", "csv", "--param", "a=1"), 2, "Params do not"),
        (("http://127.0.0.1:9", "-i", __file__, "--param", "a"), 2, "is not NAME=VALUE"),
        (("ftp://127.0.0.1", "-i", __file__), 2, "is not an HTTP URL"),
    ],
)
def test_what_else_may_be_wrong(arguments: tuple[str, ...], code: int, message: str) -> None:
    done = call(*arguments)
    assert done.returncode == code
    assert message in done.stderr
