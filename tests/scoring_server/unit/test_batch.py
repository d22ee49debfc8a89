"""Batch scoring: formats, chunks, whole outputs or none."""

from __future__ import annotations

import io
import json
import os
import sys

import pandas as pd
import pytest

from scoring_server.errors import ScoringError
from scoring_server.files import job as batch
from scoring_server.files import reading as batch_input
from scoring_server.model.loading import load_model

SUM = """
    class Model:
        def predict(self, model_input):
            return (model_input["a"] + model_input["b"]).to_numpy()
"""
INPUTS = [{"name": "a", "type": "double"}, {"name": "b", "type": "double"}]
ROWS = [[1.5, 2.0], [3.0, 4.0], [5.0, 6.5]]
SUMS = [3.5, 7.0, 11.5]


@pytest.fixture
def run(models, tmp_path):
    """Score a file with the model that adds two columns; the answer is the output's path."""
    config = models.config(SUM, inputs=INPUTS)
    model = load_model(config)

    def run(body, input_format="csv", output_format="json", progress=None):
        source, target = tmp_path / "in", tmp_path / "out"
        source.write_bytes(body if isinstance(body, bytes) else body.encode())
        rows = batch.run_batch(
            config, model, str(source), str(target), input_format, output_format, progress
        )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model1", "out"]
        return rows, target

    return run


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of a line or two."""
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", 20)


def bodies():
    frame = pd.DataFrame(ROWS, columns=["a", "b"])
    records = frame.to_dict(orient="records")
    return {
        "csv": ("csv", frame.to_csv(index=False)),
        "split": ("json", json.dumps({"dataframe_split": frame.to_dict(orient="split")})),
        "records": ("json", json.dumps({"dataframe_records": records}, indent=2)),
        "list of records": ("json", json.dumps(records)),
        "inputs": ("json", json.dumps({"inputs": frame.to_dict(orient="list")})),
        "instances": ("json", json.dumps({"instances": records}, indent=1)),
        "lines": ("json", "\n".join(map(json.dumps, records)) + "\n"),
    }


@pytest.mark.parametrize("name", list(bodies()))
def test_inputs(run, name):
    input_format, body = bodies()[name]
    rows, output = run(body, input_format)
    assert rows == 3
    assert json.loads(output.read_text()) == {"predictions": SUMS}


@pytest.mark.parametrize("name", ["csv", "lines"])
@pytest.mark.parametrize("output_format", ["json", "csv"])
def test_chunks_give_the_same_output(run, name, output_format, monkeypatch):
    input_format, body = bodies()[name]
    _, output = run(body, input_format, output_format)
    whole = output.read_bytes()
    seen = []
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", 20)
    run(body, input_format, output_format, lambda *progress: seen.append(progress))
    assert output.read_bytes().replace(b", ", b",") == whole.replace(b", ", b",")
    assert len(seen) > 1
    assert seen[-1] == (len(body), 3)
    assert seen == sorted(seen)


def test_csv_output(run):
    _, output = run(bodies()["csv"][1], "csv", "csv")
    assert pd.read_csv(output)["predictions"].tolist() == SUMS


def test_parquet(run, small_chunks):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    buffer = io.BytesIO()
    pd.DataFrame(ROWS, columns=["a", "b"]).to_parquet(buffer, row_group_size=1)
    rows, output = run(buffer.getvalue(), "parquet", "parquet")
    assert rows == 3
    assert pd.read_parquet(output)["predictions"].tolist() == SUMS
    with pytest.raises(ScoringError, match="Parquet"):
        run(b"PAR1 not really", "parquet")


def test_empty_inputs(run):
    assert json.loads(run("a,b\n")[1].read_text()) == {"predictions": []}
    with pytest.raises(ScoringError):
        run("")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a,b\n1,2\n3,4\n5,oops\n", "Row 3 is not CSV"), ("a\n1\n2\n", r"inputs \['b'\] are missing"),
        ("a,b\n1,2\n3,4,5\n", "not CSV"), (b"a,b\n1,\xff\n", "utf-8"),
    ],
)  # fmt: skip
def test_a_failure_leaves_no_output(run, tmp_path, small_chunks, body, words):
    with pytest.raises(ScoringError, match=words):
        run(body)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model1"]


def test_a_failure_keeps_the_output_that_was_there(run, tmp_path):
    _, output = run("a,b\n1,2\n")
    before = output.read_bytes()
    with pytest.raises(ScoringError):
        run("a,b\n1,oops\n")
    assert output.read_bytes() == before


def test_the_model_fails_halfway(models, tmp_path, small_chunks):
    code = """
        class Model:
            def predict(self, model_input):
                if 3 in list(model_input["a"]):
                    raise ValueError("three!")
                return model_input["a"]
    """
    config = models.config(code)
    source = tmp_path / "in"
    source.write_text("a\n" + "\n".join(["1"] * 30 + ["3"]) + "\n")
    with pytest.raises(ScoringError, match=r"Rows \d\d to 31: The model raised ValueError: three!"):
        batch.run_batch(config, load_model(config), str(source), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


WIDE = [{"name": "a", "type": "double"}, {"name": "t", "type": "datetime"}]


@pytest.mark.parametrize(
    ("format", "line", "bad", "words"),
    [
        ("csv", "{},2020-01-01\n", "oops,2020-01-01\n", "Row 37 is not CSV"),
        ("csv", "{},2020-01-01\n", "1,never\n", "Row 37 is not CSV|Row 37: "),
        ("jsonl", '{{"a": {}, "t": "2020-01-01"}}\n', '{"a": "x", "t": "2020-01-01"}\n', "Row 37"),
        ("jsonl", '{{"a": {}, "t": "2020-01-01"}}\n', "[1]\n", "Row 37 is not a JSON object"),
        ("jsonl", '{{"a": {}, "t": "2020-01-01"}}\n', "{\n", "Row 37 is not JSON"),
    ],
)
@pytest.mark.parametrize("chunk", [100, 1 << 20])
def test_the_row_that_does_not_fit_is_named(
    models, tmp_path, monkeypatch, format, line, bad, words, chunk
):
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", chunk)
    code = """
        class Model:
            def predict(self, model_input):
                return model_input["a"]
    """
    config = models.config(code, inputs=WIDE)
    source = tmp_path / "in"
    lines = [line.format(number) for number in range(50)]
    lines[36] = bad
    source.write_text(("a,t\n" if format == "csv" else "") + "".join(lines))
    with pytest.raises(ScoringError, match="^(" + words + ")"):
        batch.run_batch(config, load_model(config), str(source), None, format)


def test_an_object_is_no_table(models, tmp_path):
    code = """
        class Model:
            def predict(self, model_input):
                return {"id": "1", "choices": [{"index": 0}]}
    """
    config = models.config(code)
    source = tmp_path / "in"
    source.write_text("a\n1\n")
    with pytest.raises(ScoringError, match="no table"):
        batch.run_batch(config, load_model(config), str(source), str(tmp_path / "o"), "csv", "csv")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_files(models, tmp_path, kind):
    import bz2
    import gzip
    import lzma

    module = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind]
    config = models.config(SUM, inputs=INPUTS)
    model = load_model(config)
    source, target = tmp_path / "in", tmp_path / "out"
    packed = module.compress(b"a,b\n1,2\n3,4\n" * 1)
    options = {"input_compression": kind, "output_compression": kind}
    source.write_bytes(packed)
    assert batch.run_batch(config, model, str(source), str(target), "csv", "csv", **options) == 2
    assert module.decompress(target.read_bytes()) == b"predictions\n3.0\n7.0\n"
    for damaged in (packed[:-5], b"a,b\n1,2\n", packed[:12] + b"\0\0\0\0" + packed[16:]):
        source.write_bytes(damaged)
        with pytest.raises(ScoringError, match="not whole " + kind):
            batch.run_batch(config, model, str(source), str(target), "csv", "csv", **options)
    assert module.decompress(target.read_bytes()) == b"predictions\n3.0\n7.0\n"


def test_output_has_the_usual_permissions(run):
    _, output = run("a,b\n1,2\n")
    mask = os.umask(0)
    os.umask(mask)
    assert output.stat().st_mode & 0o777 == 0o666 & ~mask


def test_standard_input_and_output(models, monkeypatch):
    class Standard:
        def __init__(self, data=b""):
            self.buffer = io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Standard(b"a,b\n1,2\n"))
    monkeypatch.setattr(sys, "stdout", Standard())
    config = models.config(SUM, inputs=INPUTS)
    batch.run_batch(config, load_model(config))
    assert json.loads(sys.stdout.buffer.getvalue()) == {"predictions": [3.0]}


def test_raw_payload_is_not_wrapped(models, tmp_path):
    config = models.config()
    (tmp_path / "in").write_text('{"messages": "m"}')
    arguments = (str(tmp_path / "in"), str(tmp_path / "out"), "json", "json")
    batch.run_batch(config, load_model(config), *arguments)
    assert json.loads((tmp_path / "out").read_text())["input"] == {"messages": "m"}


@pytest.mark.parametrize(
    ("answer", "header"),
    [
        ("pd.DataFrame({'x': model_input['a'], 'y': 1})", "x,y"),
        ("pd.Series(model_input['a'], name='s')", "s"),
        ("model_input[['a']].to_numpy().repeat(2, axis=1)", "0,1"),
        ("[{'k': v} for v in model_input['a']]", "k"),
        ("{'k': model_input['a'].to_numpy()}", "k"),
        ("list(model_input['a'])", "predictions"),
    ],
)
def test_csv_columns(models, tmp_path, small_chunks, answer, header):
    code = (
        "import pandas as pd\n\nclass Model:\n"
        f"    def predict(self, model_input):\n        return {answer}\n"
    )
    config = models.config(code)
    (tmp_path / "in").write_text("a\n" + "1\n" * 40)
    output = tmp_path / "out.csv"
    batch.run_batch(config, load_model(config), str(tmp_path / "in"), str(output), "csv", "csv")
    lines = output.read_text().splitlines()
    assert lines[0] == header
    assert len(lines) == 41


def test_memory_does_not_grow_with_the_input(models, tmp_path, monkeypatch):
    """The largest chunk decides what is held at once: counted in rows that reach the model."""
    monkeypatch.setattr(batch_input, "CHUNK_BYTES", 64 * 1024)
    code = """
        class Model:
            largest = 0
            def predict(self, model_input):
                Model.largest = max(Model.largest, len(model_input))
                return model_input["a"]
    """
    config = models.config(code)
    (tmp_path / "in").write_text("a\n" + "1234567\n" * 200000)
    model = load_model(config)
    rows = batch.run_batch(config, model, str(tmp_path / "in"), str(tmp_path / "out"))
    assert rows == 200000
    assert 1000 < type(model.implementation).largest < 20000
