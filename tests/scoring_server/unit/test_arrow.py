"""Arrow's IPC streams: as bodies, as answers, and what is wrong with them."""

from __future__ import annotations

import datetime
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")

ROOT = Path(__file__).resolve().parents[3]
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
DOUBLES = [{"name": name, "type": "double"} for name in "abcd"]
# Answers with what is in a file of its own: the types of the columns, and their values.
TYPES = """
    class Model:
        def predict(self, model_input):
            kinds = {str(name): str(kind) for name, kind in model_input.dtypes.items()}
            rows = model_input.astype(object).where(model_input.notna(), None)
            return [{"kinds": kinds, "rows": [list(map(str, row)) for row in rows.values]}]
"""


def stream(table, compression=None):
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table)
    target = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(target, table.schema, options=options) as writer:
        writer.write_table(table)
    return target.getvalue()


def post(client, body, accept=None, content_type=ARROW):
    headers = {} if accept is None else {"Accept": accept}
    return client.post("/invocations", data=body, content_type=content_type, headers=headers)


def answer(response):
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.headers["Content-Type"] == JSON
    return json.loads(response.get_data())["predictions"]


def table_of(response):
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.headers["Content-Type"] == ARROW
    return pa.ipc.open_stream(response.get_data()).read_all()


def refused(response, status):
    assert response.status_code == status, response.get_data(as_text=True)
    return json.loads(response.get_data())["message"]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_a_stream_is_what_the_signature_says(models, compression):
    client = models.client(inputs=DOUBLES)
    columns = {"d": [4.0, 8.0], "c": [3.0, 7.0], "extra": ["x", "y"], "b": [2.0, 6.0]}
    table = pa.table({**columns, "a": pa.array([1, 5], pa.int32())})
    got = answer(post(client, stream(table, compression)))
    assert got["columns"] == list("abcd")
    assert got["rows"] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert got["dtypes"] == ["float64"] * 4
    assert "'d'" in refused(post(client, stream(table.drop(["d"]), compression)), 400)


def test_types_of_all_kinds(models):
    moments = [datetime.datetime(2020, 1, 2, 3, 4, 5), None]
    columns = {
        "int": (pa.array([1, -2], pa.int16()), "integer"),
        "long": (pa.array([1 << 40, 2]), "long"),
        "float": (pa.array([0.5, None], pa.float32()), "float"),
        "double": (pa.array([None, 1.5]), "double"),
        "text": (pa.array(["ä", None]), "string"),
        "dictionary": (pa.array(["x", "x"]).dictionary_encode(), "string"),
        "codes": (pa.array([7, 9], pa.int64()).dictionary_encode(), "long"),
        "flag": (pa.array([True, False]), "boolean"),
        "time": (pa.array(moments, pa.timestamp("us")), "datetime"),
        "bytes": (pa.array([b"\x00", b"\xff"]), "binary"),
    }
    inputs = [{"name": name, "type": kind} for name, (_, kind) in columns.items()]
    inputs.append({"name": "list", "type": "array", "items": {"type": "double"}})
    table = pa.table({name: values for name, (values, _) in columns.items()})
    table = table.append_column("list", pa.array([[1.5], [2.5, 3.5]]))
    (got,) = answer(post(models.client(TYPES, inputs=inputs), stream(table)))
    texts = got["kinds"]["text"], got["kinds"]["dictionary"]
    assert set(texts) <= {"object", "str"}
    assert {name: kind for name, kind in got["kinds"].items() if kind not in ("object", "str")} == {
        "int": "int32", "long": "int64", "float": "float32", "double": "float64",
        "codes": "int64", "flag": "bool", "time": "datetime64[ns]",
    }  # fmt: skip
    assert [row[4:9] for row in got["rows"]] == [
        ["ä", "x", "7", "True", "2020-01-02 03:04:05"], ["None", "x", "9", "False", "None"],
    ]  # fmt: skip
    assert [row[10].replace(" ", "") for row in got["rows"]] == ["[1.5]", "[2.53.5]"]


def test_without_a_signature_it_is_what_pandas_noted(models):
    frame = pd.DataFrame(
        {"c": pd.Categorical(["x", "y"]), "n": pd.array([1, None], "Int64")}, index=[5, 7]
    )
    code = """
        class Model:
            def predict(self, model_input):
                return [str(dtype) for dtype in model_input.dtypes] + list(model_input.index)
    """
    assert answer(post(models.client(code), stream(frame))) == ["category", "Int64", 5, 7]


def test_times_that_nanoseconds_do_not_reach_are_refused_by_column(models):
    client = models.client(inputs=[{"name": "t", "type": "datetime"}])
    table = pa.table({"t": pa.array([datetime.datetime(3000, 1, 1)], pa.timestamp("us"))})
    # pandas before 2 has no other times, and pyarrow says so before there is a column.
    message = refused(post(client, stream(table)), 400)
    assert "'t'" in message or "out of bounds timestamp" in message


def test_numbers_with_an_index_or_missing_ones_are_what_pandas_makes_of_them(models):
    code = """
        class Model:
            def predict(self, model_input):
                rows = model_input.astype(object).where(model_input.notna(), None)
                return [list(model_input.index), rows.values.tolist(), model_input.values.flags["F_CONTIGUOUS"]]
    """
    client = models.client(code, inputs=DOUBLES)
    values = {"b": [2.0, 6.0], "a": [1.0, 5.0], "d": [4.0, 8.0], "c": [3.0, 7.0]}
    rows = [[1, 2, 3, 4], [5, 6, 7, 8]]
    for table, index in (
        (pd.DataFrame(values), [0, 1]),
        (pa.table(values), [0, 1]),
        (pd.DataFrame(values, index=[5, 7]), [5, 7]),
        (pd.DataFrame(values)[::-1][::-1], [0, 1]),
    ):
        assert answer(post(client, stream(table))) == [index, rows, True]
    missing = pa.table({**values, "c": [3.0, None]})
    assert answer(post(client, stream(missing)))[:2] == [[0, 1], [[1, 2, 3, 4], [5, 6, None, 8]]]


def test_unnamed_columns_and_tensors(models):
    unnamed = models.client(inputs=[{"type": "string"}, {"type": "double"}])
    table = pa.table({"x": pa.array(["a", "b"]).dictionary_encode(), "y": [0.5, 1.5]})
    assert answer(post(unnamed, stream(table)))["rows"] == [["a", 0.5], ["b", 1.5]]
    spec = {"dtype": "float64", "shape": [-1, 2]}
    tensor = models.client(inputs=[{"type": "tensor", "tensor-spec": spec}])
    numbers = pa.table({"x": [1.0, 3.0], "y": [2.0, 4.0]})
    assert answer(post(tensor, stream(numbers)))["input"] == [[1, 2], [3, 4]]


def test_no_rows_and_many_batches(models):
    client = models.client(inputs=DOUBLES)
    table = pa.table({name: pa.array([], pa.float64()) for name in "abcd"})
    assert answer(post(client, stream(table)))["rows"] == []
    rows = pa.table({name: np.arange(7.0) for name in "abcd"})
    target = io.BytesIO()
    with pa.ipc.new_stream(target, rows.schema) as writer:
        for batch in rows.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    assert answer(post(client, target.getvalue()))["rows"] == [[n] * 4 for n in range(7)]


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON), ("*/*", JSON), ("application/*", JSON), (ARROW, ARROW), (ARROW.upper(), ARROW),
        (ARROW + ", */*;q=0.1", ARROW), ("application/json, " + ARROW, ARROW),
        (f"application/json, {ARROW};q=0.5", JSON), (ARROW + ";q=0", JSON),
        (f"application/json;q=0.2, {ARROW}; q=0.3", ARROW), (ARROW + ";q=nan", JSON),
    ],
)  # fmt: skip
def test_the_answer_is_in_the_format_that_is_preferred(models, accept, media_type):
    client = models.client("class Model:\n    def predict(self, data): return [1.5, 2.5]")
    response = post(client, "a\n1\n2\n", accept, "text/csv")
    assert response.headers["Content-Type"] == media_type
    if media_type == ARROW:
        assert table_of(response).to_pydict() == {"predictions": [1.5, 2.5]}
    else:
        assert answer(response) == [1.5, 2.5]


ANSWERS = {
    "a list": ("[1, 2]", {"y": [1, 2]}),
    "an array": ("numpy.array([0.5, numpy.nan])", {"y": [0.5, None]}),
    "texts": ("['a', None]", {"y": ["a", None]}),
    "times": ("pandas.Series(pandas.to_datetime(['2020-01-02']))",
              {"y": [datetime.datetime(2020, 1, 2)]}),
    "a named series": ("pandas.Series([1], name='s')", {"s": [1]}),
    "a table": ("pandas.DataFrame({'p': [1, 2], 3: [True, False]}, index=[7, 8])",
                {"p": [1, 2], "3": [True, False]}),
    "columns": ("{'m': numpy.ones(2), 'n': numpy.zeros((2, 1))}",
                {"m": [1.0, 1.0], "n": [[0.0], [0.0]]}),
    "records": ("[{'m': 1}, {'m': 2}]", {"m": [1, 2]}),
    "lists": ("[[1], [2, 3]]", {"y": [[1], [2, 3]]}),
    "more columns": ("numpy.zeros((1, 2))", {"0": [0.0], "1": [0.0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ANSWERS))
def test_what_a_model_answers_as_a_table(models, name):
    value, expected = ANSWERS[name]
    code = "import numpy, pandas\nclass Model:\n    def predict(self, data): return " + value
    signature = {"inputs": None, "outputs": [{"name": "y", "type": "double"}]}
    client = models.client(code, signature=signature)
    got = table_of(post(client, "a\n1\n", ARROW, "text/csv")).to_pandas()
    expected_frame = pa.table(expected).to_pandas()
    pd.testing.assert_frame_equal(got, expected_frame, check_dtype=False)


@pytest.mark.parametrize("value", ["{'text': 'hello'}", "[1, 'x']", "{'a': [1], 'b': [1, 2]}"])
def test_what_is_no_table_is_json_or_406(models, value):
    client = models.client("class Model:\n    def predict(self, data): return " + value)
    message = refused(post(client, "a\n1\n", ARROW, "text/csv"), 406)
    assert "no table" in message
    assert JSON in message
    response = post(client, "a\n1\n", ARROW + ", application/json;q=0.1", "text/csv")
    assert response.headers["Content-Type"] == JSON


def test_polars_reads_and_writes_it(models):
    polars = pytest.importorskip("polars", reason="no polars: pip install polars")
    inputs = [{"name": name, "type": kind} for name, kind in (("t", "string"), ("x", "double"))]
    code = "class Model:\n    def predict(self, data): return data.assign(x=data.x * 2)"
    client = models.client(code, inputs=inputs)
    frame = polars.DataFrame(
        {"t": ["a", "long enough for a view of its own", None], "x": [1.5, 2.0, 3.0]}
    )
    for table in (frame, frame.with_columns(polars.col("t").cast(polars.Categorical))):
        for compression in ("uncompressed", "lz4", "zstd"):
            target = io.BytesIO()
            table.write_ipc_stream(target, compression=compression)
            response = post(client, target.getvalue(), ARROW)
            assert response.status_code == 200, response.get_data(as_text=True)
            got = polars.read_ipc_stream(response.get_data())
            assert got["x"].to_list() == [3.0, 4.0, 6.0]
            assert got["t"].to_list() == frame["t"].to_list()


# --- what is wrong -------------------------------------------------------------------------------


def test_what_is_no_stream_is_refused(models):
    client = models.client()
    body = stream(pa.table({"a": [1.5, 2.5]}))
    for wrong in (b"", b"{}", body[:-20], body[:100], b"PAR1" + body, body[8:]):
        if wrong != body[:-20]:
            assert "Arrow" in refused(post(client, wrong), 400)
    file = io.BytesIO()
    table = pa.table({"a": [1.5]})
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert "IPC stream" in refused(post(client, file.getvalue()), 400)


def test_what_decodes_to_too_much_is_refused_before_it_is_decoded(models):
    client = models.client(server={"max_body": 100000})
    bombs = {
        "numbers": pa.table({"a": np.zeros(1000000)}),
        "texts": pa.table({"a": ["x" * 5000] * 1000}),
        "lists": pa.table({"a": [[0] * 1000] * 300}),
        "nulls": pa.table({"a": pa.nulls(2000000)}),
    }
    for name, table in bombs.items():
        for compression in ("lz4", "zstd"):
            body = stream(table, compression)
            assert len(body) < 100000, name
            assert "decodes to more" in refused(post(client, body), 413)
    few = stream(pa.table({"a": ["x" * 50] * 1000}), "zstd")
    assert len(answer(post(client, few))["rows"]) == 1000


@pytest.mark.skipif(not hasattr(pa, "string_view"), reason="old pyarrow: pip install 'pyarrow>=16'")
def test_views_of_the_same_bytes_are_counted_each_time(models):
    view = np.zeros((2000, 4), "<i4")
    view[:, 0], view[:, 1] = 90000, int.from_bytes(b"xxxx", "little")
    buffers = [None, pa.py_buffer(view.tobytes()), pa.py_buffer(b"x" * 90000)]
    array = pa.Array.from_buffers(pa.string_view(), 2000, buffers)
    nested = pa.ListArray.from_arrays([0, 2000], array)
    client = models.client(server={"max_body": 1 << 20})
    for column in (array, nested):
        assert "decodes to more" in refused(post(client, stream(pa.table({"a": column}))), 413)


@pytest.mark.parametrize("kind", ["list_view", "union", "run_end_encoded"])
def test_types_whose_parts_may_overlap_are_not_read(models, kind):
    if kind == "union":
        array = pa.UnionArray.from_dense(
            pa.array([0, 0], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1])]
        )
    elif kind == "list_view":
        if not hasattr(pa, "ListViewArray"):
            pytest.skip("old pyarrow: pip install 'pyarrow>=16'")
        array = pa.ListViewArray.from_arrays([0, 0], [1, 1], pa.array([1]))
    else:
        if int(pa.__version__.split(".")[0]) < 13:
            pytest.skip("old pyarrow: pip install 'pyarrow>=13'")
        array = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([1.5]))
    message = refused(post(models.client(), stream(pa.table({"a": array}))), 400)
    assert "'a'" in message
    assert "not read" in message


# Reads one stream with bytes changed at random, again and again: it may be refused, and no more.
CHANGED = """
import random, sys
sys.path.insert(0, sys.argv[1])
from scoring_server.errors import ScoringError
from scoring_server.formats.arrow_body import read_arrow
from scoring_server.memory import at_most
from scoring_server.signature.params import Params
from scoring_server.signature.signature import Signature

body, signature = sys.stdin.buffer.read(), Signature(None, Params(None))
read_arrow(body, 1 << 20, signature)
random.seed(int(sys.argv[2]))
refused = 0
for _ in range(int(sys.argv[3])):
    changed = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 5))):
        place = random.randrange(len(changed))
        changed[place] = random.choice((0, 1, 127, 128, 255, changed[place] ^ (1 << random.randrange(8))))
    if random.random() < 0.2:
        del changed[random.randrange(len(changed)):]
    try:
        with at_most(1 << 28):
            read_arrow(bytes(changed), 1 << 20, signature)[0].to_dict()
    except (ScoringError, MemoryError):
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_streams_with_changed_bytes_do_no_harm(compression):
    table = pa.table(
        {
            "x": [1.5, None, 2.5],
            "t": ["a", None, "ccc"],
            "d": pa.array(["p", "q", "p"]).dictionary_encode(),
            "l": [[1], [], [2, 3]],
            "b": [b"1", b"22", b""],
            "f": [True, None, False],
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", CHANGED, str(ROOT), "16", "1500"],
        input=stream(table, compression),
        stdout=subprocess.PIPE,
        check=True,
    )
    # Most changes hit what the stream says of itself.
    assert 100 < int(done.stdout) < 1500
