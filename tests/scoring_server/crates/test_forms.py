"""The routes and forms of MLflow's R server, with R's own packages as the oracle.

MLflow's R package is not on this machine; its server's two lines (how it makes a table of a body, how
it writes the answer) are called by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.scoring_server.crates.crates import needs_r, run_r

pytestmark = needs_r

BODIES = [
    '{"wt": [3, 2.5], "hp": [100, 200]}',
    '{"wt": 2.62, "hp": 110}',
    '[{"wt": 3, "hp": 100}]',
    '{"wt": [3.1415926535897931], "hp": [99]}',
]
BY_HAND = """
fn <- unserialize(readRDS(commandArgs(TRUE)[[1]]))
for (body in commandArgs(TRUE)[-1]) {
  table <- as.data.frame(
    jsonlite::fromJSON(body, simplifyDataFrame = FALSE, simplifyMatrix = FALSE)
  )
  cat(jsonlite::toJSON(fn(table), auto_unbox = TRUE, digits = NA), "\\n", sep = "")
}
"""


def test_predict_answers_as_mlflows_r_server(loaded: Callable[..., Any], crates: Path) -> None:
    for name, bodies in (("lm", BODIES), ("same", [*BODIES, '{"a": ["x", null], "b": true}'])):
        expected = run_r(BY_HAND, crates / name / "crate.bin", *bodies).splitlines()
        post = loaded(name)
        for body, line in zip(bodies, expected, strict=True):
            answer = post(body.encode(), "/predict")
            assert answer.status == 200, answer.body
            assert answer.body.decode() == line
            assert post(body.encode(), "/predict/", "").body == answer.body


def test_forms_with_bare_answers(loaded: Callable[..., Any]) -> None:
    post = loaded("same")
    split = b'{"columns": ["a", "b"], "data": [[1, 2.5], [3, null]]}'
    rows = b'[{"a":1,"b":2.5},{"a":3}]'
    records = "application/json; format=pandas-records"
    assert post(split, "/invocation").body == rows
    assert post(split, "/invocation", "").body == rows
    assert post(split, "/invocation", "application/json-numpy-split").body == rows
    assert post(b'{"dataframe_split": ' + split + b"}", "/invocation").body == rows
    assert post(rows, "/invocation", records).body == rows
    assert post(b'{"dataframe_records": ' + rows + b"}", "/invocation").body == rows
    assert post(b"a,b\n1,2.5\n3,\n", "/invocation", "text/csv").body == rows
    # The forms that are no others' on the route of all flavors.
    assert post(split).body == rows
    assert post(split, content_type="application/json; format=pandas-split").body == rows
    assert post(rows, content_type=records).body == rows
    assert post(b"", "/predict").body == b"[]"
    # All flavors' forms have all flavors' answer.
    wrapped = post(b'{"dataframe_split": ' + split + b"}")
    assert json.loads(wrapped.body) == {"predictions": [{"a": 1, "b": 2.5}, {"a": 3, "b": None}]}
    assert "predictions" in json.loads(post(b"a,b\n1,2.5\n", content_type="text/csv").body)


def test_the_open_inference_protocol(loaded: Callable[..., Any]) -> None:
    post = loaded("same")
    tensor = {"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    texts = {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["a", "\u00e4"]}
    for inputs in ([tensor], [tensor, texts]):
        answer = post(json.dumps({"inputs": inputs}).encode(), "/v2/models/same/infer")
        assert answer.status == 200, answer.body
        outputs = json.loads(answer.body)["outputs"]
        assert {each["name"]: each["data"] for each in outputs} == {
            each["name"]: each["data"] for each in inputs
        }


def test_what_is_no_form_is_refused(loaded: Callable[..., Any], tmp_path: Path) -> None:
    post = loaded("same")
    (tmp_path / "secret.json").write_text('{"secret": 1}')
    path = json.dumps(str(tmp_path / "secret.json")).encode()
    for body, route, kind in (
        # jsonlite's fromJSON would read files and URLs.
        (path, "/predict", "application/json"),
        (str(tmp_path / "secret.json").encode(), "/predict", "application/json"),
        (path, "/invocation", "application/json"),
        (b"{", "/predict", "application/json"),
        (b"1", "/invocation", "application/json"),
        (b'{"a": 1}', "/invocation", "application/json"),
        (b'{"a": [1, 2], "b": [1, 2, 3]}', "/predict", "application/json"),
        (b'{"a": 1}', "/invocations", "application/json"),
        (b'{"columns": ["a"]}', "/invocations", "application/json"),
        (b"\xff", "/predict", "application/json"),
    ):
        answer = post(body, route, kind)
        assert answer.status == 400, (body, answer.body)
        assert b"secret" not in answer.body.replace(b"secret.json", b"")
    assert post(b"x", "/invocation", "text/plain").status == 415
    assert post(b"x", "/invocations", "text/plain").status == 415
