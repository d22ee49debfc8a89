"""Small bodies that would take much memory or time: refused, within bounds."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the bound is Linux's: run on Linux"
)

# Scores one body in a process of its own: what the client gets, and by how many MB it grew.
SCORE = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
import numpy, pandas
from scoring_server.config import ModelConfig, ServerConfig, ServerSettings, SignatureConfig
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application

class Model:
    implementation = predict_stream = None
    def predict(self, data, params=None):
        return [1]

try:
    import pyarrow.parquet
except ImportError:
    pass
signature = SignatureConfig(inputs=json.loads(sys.argv[2]) or None)
settings = ServerSettings(max_body=int(sys.argv[4]))
config = ServerConfig(model=ModelConfig(path="x", signature=signature), server=settings)
application, protocol = Application(config, Model()), MlflowProtocol(config)

def score(body, content_type):
    headers = {"content-type": content_type}
    return application.answer(
        Request(protocol, protocol.routes[0], "POST", "/invocations", {}, "", headers, body)
    )

body = sys.stdin.buffer.read()
score(b'{"inputs": [1.5]}' if not signature.inputs else b"a,b\\n1.5,2\\n",
      "application/json" if not signature.inputs else "text/csv")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
answer = score(body, sys.argv[3])
message = "" if answer.status == 200 else json.loads(answer.body)["message"]
print(json.dumps([answer.status, message] + [(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024]))
"""
DOUBLES = [{"name": name, "type": "double"} for name in "ab"]
JSON, CSV, PARQUET = "application/json", "text/csv", "application/x-parquet"


def score(body, content_type=JSON, inputs=None, max_body=10 << 20):
    """The status, the message, and the megabytes that scoring the body took."""
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(ROOT), json.dumps(inputs), content_type, str(max_body)],
        input=body if isinstance(body, bytes) else json.dumps(body).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("data", [1, None, "x", True])
def test_one_value_does_not_fill_a_table(data):
    many = list(range(8000))
    status, message, grown = score(
        {"dataframe_split": {"index": many, "columns": many, "data": data}}
    )
    assert status == 400
    assert "data must be rows" in message
    assert grown < 100


def test_an_index_has_the_length_of_the_data():
    many = list(range(8000))
    body = {"dataframe_split": {"index": many, "columns": many, "data": []}}
    status, message, grown = score(body)
    assert status == 400
    assert "0 rows but an index of 8000" in message
    assert grown < 100


BOMBS = {
    # Each record brings a column of its own: a table of 64 million cells.
    "sparse records": {"dataframe_records": [{f"c{number}": 1} for number in range(8000)]},
    "sparse rows": {"dataframe_split": {"data": [{}] * 8000, "columns": list(range(8000))}},
    # numpy gives each text of an array the room of the longest.
    "one long text": {"inputs": ["x" * 100000] + ["y"] * 20000},
    "one long text in rows": {
        "dataframe_split": {"columns": ["a", "b"], "data": [["x" * 100000, 1]] + [[1, 1]] * 20000}
    },
}


@LINUX
@pytest.mark.parametrize("name", list(BOMBS))
def test_json_that_would_grow_to_gigabytes_is_refused(name):
    status, message, grown = score(BOMBS[name], inputs=DOUBLES if "rows" in name else None)
    assert status in (400, 413), message
    assert grown < 200


def lying(body, size):
    """A Parquet file whose footer says 0 where it said `size`, in as many bytes."""
    number = size << 1  # Thrift's zigzag form
    groups = []
    while number:
        groups.append(number & 0x7F)
        number >>= 7
    honest = bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
    false = b"\x80" * (len(honest) - 1) + b"\x00"
    start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    assert honest in body[start:]
    return body[:start] + body[start:].replace(honest, false)


@LINUX
@pytest.mark.parametrize("kind", ["text", "list"])
def test_parquet_that_lies_in_its_footer_is_bounded(kind):
    pyarrow = pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install pyarrow")
    value = "x" * 1000000 if kind == "text" else [1] * 500000
    # 2 GB of text, 0.8 GB of numbers.
    rows = 2000 if kind == "text" else 200
    table = pyarrow.table({"a": pyarrow.array([value]).take(pyarrow.array([0] * rows))})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="gzip")
    size = parquet.ParquetFile(buffer).metadata.row_group(0).total_byte_size
    body = lying(buffer.getvalue(), size)
    assert parquet.ParquetFile(io.BytesIO(body)).metadata.row_group(0).total_byte_size == 0
    assert len(body) < 1 << 20
    status, message, grown = score(body, PARQUET, max_body=10 << 20)
    assert status == 413, message
    assert grown < 300


@pytest.mark.parametrize("header", ["present", "absent"])
def test_a_csv_of_very_many_columns_is_refused_at_once(models, header):
    client = models.client(inputs=DOUBLES)
    row = ",".join(f"c{number}" for number in range(300000))
    before = time.monotonic()
    response = client.post(
        "/invocations", data=row + "\n" + row, content_type="text/csv; header=" + header
    )
    assert response.status_code == 400
    # It took pandas 36 s and more; half a second is usual now.
    assert time.monotonic() - before < 15


def test_a_csv_of_many_columns_gives_those_of_the_signature(models):
    client = models.client(inputs=DOUBLES)
    names = [f"c{number}" for number in range(500)]
    text = ",".join([*names, "b", "a"]) + "\n" + ",".join(["0"] * 500 + ["2.5", "1.5"])
    response = client.post("/invocations", data=text, content_type=CSV)
    assert json.loads(response.get_data())["predictions"]["rows"] == [[1.5, 2.5]]
