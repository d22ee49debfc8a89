"""The deliberate differences to MLflow's scoring server, one by one: docs/scoring-protocol.md lists them.

Each entry holds for both servers, so that a difference that MLflow gives up is noticed here.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.scoring_server.cases import CSV, JSON, Case
from tests.scoring_server.comparing import send

pytestmark = pytest.mark.slow

TIMES = b'[{"a": 0, "b": "2020-01-01T00:00:00Z"}, {"a": 1, "b": "2020-02-01T12:34:56Z"}]'
BYTES = b'[{"a": 0, "b": "dGVzdCBiaW5hcnkgZGF0YSAw"}]'


def answers(kind: str) -> Case:
    return Case("answers", b'{"inputs": {"kind": "%s"}}' % kind.encode())


@pytest.mark.parametrize(
    ("case", "theirs", "ours"),
    [
        (Case("doubles", b"1,2,3,4", "application/csv"), 415, 200),
        (Case("doubles", b"1,2,3,4", CSV), 400, 200),
        (Case("doubles", b"1,2,3,4\n5,6,7,8", "text/csv; header=absent"), 415, 200),
        (Case("datetime_and_long", TIMES), 400, 200),
        (Case("datetime_and_long", b'{"dataframe_records": %s}' % TIMES), 400, 200),
        (Case("binary_and_long", BYTES), 400, 200),
        (Case("tensor", b"a,b,c\n1,2,3\n", CSV), 400, 200),
        (Case("datetime_and_long", b"a,b\n1,2020-01-01\n", CSV), 400, 200),
        (Case("no_signature", b'{"inputs": [["Cheese"], ["and", "Crackers"]]}'), 400, 200),
        (Case("no_signature", b'{"inputs": [1], "inputs": [2]}'), 200, 400),
        (answers("sparse"), 500, 200),
        (answers("frame_in_dict"), 500, 200),
        (answers("missing_na"), 200, 200),
        (answers("missing_time"), 200, 200),
        (answers("set"), 500, 500),
        (Case("doubles", b"{}", "text/html"), 415, 415),
    ],
)
def test_statuses(case: Case, theirs: int, ours: int, mlflow_url: str, our_url: str) -> None:
    assert send(mlflow_url, case).status == theirs
    answer = send(our_url, case)
    assert answer.status == ours
    if ours >= 400:
        # Always MLflow's JSON shape, where MLflow's own server answers some errors in plain text.
        assert set(answer.body) == {"error_code", "message"}


def test_no_content_type(mlflow_url: str, our_url: str) -> None:
    def post(url: str) -> int:
        request = requests.Request("POST", f"{url}/doubles/invocations", data=b"{}").prepare()
        request.headers.pop("Content-Type", None)
        with requests.Session() as session:
            return session.send(request, timeout=60).status_code

    assert (post(mlflow_url), post(our_url)) == (500, 415)


def test_missing_values_are_null(mlflow_url: str, our_url: str) -> None:
    theirs = send(mlflow_url, answers("float_array"))
    ours = send(our_url, answers("float_array"))
    assert "NaN" in theirs.text
    assert "NaN" not in ours.text
    assert ours.body["predictions"] == [1.5, None, None, None]
    first: Any = send(our_url, answers("missing_time")).body["predictions"][0]
    assert first == {"t": None}


def test_no_stack_trace_reaches_the_client(mlflow_url: str, our_url: str) -> None:
    case = answers("raise ValueError")
    assert "stack_trace" in send(mlflow_url, case).body
    ours = send(our_url, case)
    assert ours.status == 400
    assert "ValueError: a problem of the model" in ours.body["message"]
    assert case.content_type == JSON
    assert "/" not in ours.body["message"]
