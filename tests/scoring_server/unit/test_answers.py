"""How a model's answer becomes JSON."""

from __future__ import annotations

import base64
import datetime
import json

import numpy as np
import pandas as pd
import pytest

from scoring_server.errors import ScoringError
from scoring_server.formats import encoding, json_body


@pytest.fixture(params=["orjson", "json"], autouse=True)
def encoder(request, monkeypatch):
    if request.param == "json":
        monkeypatch.setattr(json_body, "orjson", None)
    elif json_body.orjson is None:
        pytest.skip("no orjson: pip install orjson")


def encode(value):
    def refuse(word):
        raise AssertionError("not JSON: " + word)

    return json.loads(encoding.encode_answer(value), parse_constant=refuse)["predictions"]


FRAME = pd.DataFrame(
    {
        "n": [1, 2],
        "x": [1.5, np.nan],
        "t": [pd.Timestamp("2020-01-02"), pd.Timestamp("2021-01-02T03:04:05")],
        "s": ["a", None],
    }
)
CYCLE = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([1, 2]), [1, 2]),
        (np.array([1.5, np.nan, np.inf, -np.inf]), [1.5, None, None, None]),
        (np.array([0.1], dtype=np.float32), [float(np.float32(0.1))]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (np.array([True, False]), [True, False]),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (np.array(["2020-01-02"], dtype="datetime64[D]"), ["2020-01-02"]),
        (np.array(["2020-01-02"], dtype="datetime64[ns]"), [1577923200000000000]),
        (np.array([b"ab"]), [base64.encodebytes(b"ab").decode()]),
        (pd.Series([1, 2], name="s"), [{"s": 1}, {"s": 2}]),
        (pd.Series([0.5]), [{"0": 0.5}]),
        (pd.DataFrame([[1, 2.5]]), [{"0": 1, "1": 2.5}]),
        (FRAME[:0], []),
        ({"a": np.array([1]), "b": np.float32(0.5)}, {"a": [1], "b": 0.5}),
        ([np.int64(1), np.bool_(True), np.float64("nan")], [1, True, None]),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
        ((1, (2, [3])), [1, [2, [3]]]),
        (2**70, 2**70),
        ([1, 2**63 - 1, -(2**63)], [1, 2**63 - 1, -(2**63)]),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3, 4, 5, 6), "2020-01-02T03:04:05.000006"),
        (datetime.time(1, 2, 3), "01:02:03"),
        (pd.Timestamp("2020-01-02", tz="UTC"), "2020-01-02T00:00:00+00:00"),
        (b"\x00" * 100, base64.encodebytes(b"\x00" * 100).decode()),
        (bytearray(b"ab"), base64.encodebytes(b"ab").decode()),
        ("text \u2028 \U0001f600", "text \u2028 \U0001f600"),
        ("lone \ud800", "lone \ud800"),
        (None, None),
        (float("nan"), None),
        ({"deep": [{"nan": [float("nan"), 1.5]}]}, {"deep": [{"nan": [None, 1.5]}]}),
        ({"f": pd.DataFrame({"a": [1]})}, {"f": [{"a": 1}]}),
        ([pd.NaT], [None]),
    ],
)
def test_answers(value, expected):
    got = encode(value)
    assert got == expected
    assert type(got) is type(expected)


def test_frame():
    assert encode(FRAME) == [
        {"n": 1, "x": 1.5, "t": "2020-01-02T00:00:00", "s": "a"},
        {"n": 2, "x": None, "t": "2021-01-02T03:04:05", "s": None},
    ]


def test_frame_with_missing_times_and_categories():
    frame = pd.DataFrame(
        {"t": [pd.NaT, pd.Timestamp("2020-01-02")], "c": pd.Categorical(["x", "y"])}
    )
    assert encode(frame) == [{"t": None, "c": "x"}, {"t": "2020-01-02T00:00:00", "c": "y"}]


def test_integers_with_missing_values():
    if not hasattr(pd, "NA"):
        pytest.skip("this pandas has no NA: pip install 'pandas>=1'")
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int64")})
    assert encode(frame) == [{"n": 1}, {"n": None}]


def test_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse", reason="no scipy: pip install scipy")
    assert encode(sparse.csr_matrix([[0, 1], [2, 0]])) == [[0, 1], [2, 0]]
    assert encode({"m": sparse.csr_matrix([[0.5]])}) == {"m": [[0.5]]}


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": object()}, lambda: 1, CYCLE])
def test_what_json_cannot_hold_is_named(value):
    with pytest.raises(ScoringError) as caught:
        encoding.encode_answer(value)
    assert caught.value.status == 500
    assert caught.value.error_code == "INTERNAL_ERROR"


def test_deep_answers():
    value = 1
    for _ in range(300):
        value = [value]
    assert encode(value) == value


def test_raw_answers_are_not_wrapped():
    assert json.loads(encoding.encode_answer({"a": 1}, is_raw=True)) == {"a": 1}
