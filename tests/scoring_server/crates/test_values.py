"""Values on their way to R and back, with R itself as the oracle."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scoring_server.model.r_crate.reading import NotReadable, load
from scoring_server.model.r_crate.writing import dump
from tests.scoring_server.crates.crates import needs_r, run_r, signature

pytestmark = needs_r

DOUBLES = [0.1, -1 / 3, 1e300, 5e-324, 2.0**60, 123456789.123456789, -0.0, 17.0, None]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31) + 1, None]
WIDE = [2**31, -(2**31), 2**53, -(2**53), 7, 2**60, None]
TEXTS = ["", "a", "NA", "\u00e4\U0001f600", "a\tb\"c'\\", "1.5", "2024-01-31", None]
LOGICALS = [True, False, None]
KINDS = {
    "d": DOUBLES, "i": INTEGERS, "w": WIDE, "s": TEXTS, "b": LOGICALS,
}  # fmt: skip

# Prints what R has of a table, in a form that loses nothing: doubles as %a, texts as their bytes.
SHOW = """
show <- function(x) {
  if (is.factor(x)) x <- as.character(x)
  values <- if (is.character(x)) {
    vapply(x, function(s) paste(charToRaw(enc2utf8(s)), collapse = ""), "")
  } else if (is.double(x)) sprintf("%a", as.vector(x)) else as.character(x)
  values[is.na(x)] <- "missing"
  cat(class(x)[[1]], paste0("=", values), "\\n")
}
"""


def as_shown(line: str) -> tuple[str, list[Any]]:
    """The class and the values of a line that `show` has printed."""
    kind, *values = line.split()
    return kind, [_value(kind, text[1:]) for text in values]


def _value(kind: str, text: str) -> Any:
    if text == "missing":
        return None
    if kind == "character":
        return bytes.fromhex(text).decode()
    if kind == "logical":
        return text == "TRUE"
    return int(text) if kind == "integer" else float.fromhex(text)


def columns(seed: int) -> dict[str, list[Any]]:
    """A table of every kind of column; each has a value at least."""
    random_of = random.Random(seed)
    rows = random_of.randint(1, 6)
    made = {}
    for name, pool in KINDS.items():
        known = [each for each in pool if each is not None]
        made[name] = [random_of.choice(known), *random_of.choices(pool, k=rows - 1)]
        random_of.shuffle(made[name])
    return made


def literal(values: list[Any]) -> str:
    """R's source text for a vector."""
    texts = []
    for each in values:
        if each is None:
            texts.append("NA")
        elif isinstance(each, bool):
            texts.append(str(each).upper())
        elif isinstance(each, str):
            texts.append(json.dumps(each, ensure_ascii=False).replace("'", "\\'"))
        elif isinstance(each, int) and abs(each) < 2**31:
            texts.append(f"{each}L")
        else:
            texts.append(float(each).hex())
    return f"c({', '.join(texts)})"


def test_tables_reach_r_as_they_are_and_come_back(
    loaded: Callable[..., Any], tmp_path: Path
) -> None:
    tables = [columns(seed) for seed in range(40)]
    files = []
    for number, table in enumerate(tables):
        frame = pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in table.items()})
        files.append(tmp_path / f"{number}.bin")
        files[-1].write_bytes(dump(frame))
    shown = run_r(
        SHOW + "for (file in commandArgs(TRUE)) for (column in "
        "unserialize(readBin(file, 'raw', 1e6))) show(column)",
        *files,
    ).splitlines()
    post = loaded("same")
    for table in tables:
        for name, values in table.items():
            kind, seen = as_shown(shown.pop(0))
            assert seen == values, name
            expected = {"d": {"numeric"}, "s": {"character"}, "b": {"logical"}}
            assert kind in expected.get(name, {"integer", "numeric"})
        rows = [dict(zip(table, row)) for row in zip(*table.values())]
        for body in (
            {"dataframe_records": rows},
            {"dataframe_split": {"columns": list(table), "data": list(zip(*table.values()))}},
            {"inputs": table},
        ):
            answer = post(json.dumps(body).encode())
            assert answer.status == 200, answer.body
            assert json.loads(answer.body) == {"predictions": rows}
    assert not shown


@pytest.mark.parametrize("name", ["lm", "glm", "closure"])
def test_predictions_are_those_of_the_function_called_by_hand(
    loaded: Callable[..., Any], crates: Path, name: str
) -> None:
    random_of = random.Random(name)
    tables: list[dict[str, list[Any]]] = []
    for _ in range(25):
        rows = random_of.randint(1, 5)
        if name == "closure":
            keys = [random_of.choice(["a", "b", "\u00e4", None]) for _ in range(rows)]
            # A column of nothing but missing values is logical in R.
            tables.append(
                {"key": ["a", *keys], "x": [random_of.gauss(0, 9) for _ in "a" + rows * "x"]}
            )
        else:
            tables.append(
                {"wt": [random_of.uniform(1, 6) for _ in range(rows)],
                 "hp": [99, *random_of.choices([random_of.randint(50, 300), None], k=rows - 1)]}
            )  # fmt: skip
    lines = [
        "show(fn(data.frame({}, stringsAsFactors = FALSE)))".format(
            ", ".join(f"{column} = {literal(values)}" for column, values in table.items())
        )
        for table in tables
    ]
    by_hand = crates / f"{name}-by-hand.R"
    path = crates / name / "crate.bin"
    by_hand.write_text(
        "\n".join([SHOW, f'fn <- unserialize(readRDS("{path}"))', *lines]), encoding="utf-8"
    )
    post = loaded(name)
    for table, line in zip(tables, run_r(by_hand).splitlines(), strict=True):
        body = {"dataframe_split": {"columns": list(table), "data": list(zip(*table.values()))}}
        answer = post(json.dumps(body).encode())
        assert answer.status == 200, answer.body
        assert json.loads(answer.body)["predictions"] == as_shown(line)[1]


# What the crate "answers" returns for each word, as JSON.
ANSWERS: dict[str, Any] = {
    "vector": [0.1, 1 / 3, 1e300],
    "integers": [1, None],
    "logicals": [True, None, False],
    "texts": ["a", None, "ä😀"],
    "factor": ["u", None, "v"],
    "special": [None, None, None, None, 1],
    "named": [1, 2],
    "empty": [],
    "null": None,
    "matrix": [[1, 3, 5], [None, 4, 6]],
    "cube": [[[1, 5], [3, 7]], [[2, 6], [4, 8]]],
    "table": [
        {"n": 1, "x": 0.1, "s": "a", "f": "u", "b": True, "d": "2024-01-31"},
        {"n": None, "x": None, "s": None, "f": "v", "b": None, "d": None},
    ],
    "no_rows": [],
    "nested": [
        {"id": 1, "items": [1, 2], "pair": [1, 3]},
        {"id": 2, "items": "one", "pair": [2, 4]},
    ],
    "list": {"a": 1, "b": [1, 2], "c": None, "d": ["x", None], "e": [5]},
    "unnamed": [1, "a", [True, None]],
    "partly": {"a": 1, "2": 2, "a.1": 3},
    "date": ["2024-01-31", None, "1969-12-31"],
    "time": ["2024-01-31T12:00:00.250000", None],
    "local": ["2024-01-31T17:00:00"],
    "complex": ["1-2i"],
    "bytes": "AQID\n",
    "integer64": [1, 0],
    "difftime": [2],
    "latin": ["ä"],
}
NO_JSON = {"fn": "closure", "environment": "environment", "s4": "S4 object"}


def test_an_answer_of_each_kind(loaded: Callable[..., Any]) -> None:
    post = loaded("answers")
    for what, expected in ANSWERS.items():
        answer = post(json.dumps({"dataframe_records": [{"what": what}]}).encode())
        assert answer.status == 200, (what, answer.body)
        assert json.loads(answer.body) == {"predictions": expected}, what
    for what, named in NO_JSON.items():
        answer = post(json.dumps({"dataframe_records": [{"what": what}]}).encode())
        assert answer.status == 500, (what, answer.body)
        assert f"R's {named} is not JSON serializable" in json.loads(answer.body)["message"]


LOSSES: list[tuple[list[Any], str]] = [
    ([2**53 + 1], "cannot hold exactly"),
    ([2**53 + 1, None], "cannot hold exactly"),
    ([0.5, 2**53 + 1], "cannot hold exactly"),
    ([10**400], "cannot hold exactly"),
    ([1, "a"], "mixes int and str"),
    ([True, 2], "mixes bool and int"),
    (["a\0b"], "U+0000"),
]


def test_what_r_would_lose_is_refused(loaded: Callable[..., Any]) -> None:
    post = loaded("same")
    for column, words in LOSSES:
        answer = post(json.dumps({"dataframe_records": [{"x": each} for each in column]}).encode())
        message = json.loads(answer.body)["message"]
        assert answer.status == 400, column
        assert words in message
        assert "The model raised" not in message


def classes(post: Callable[..., Any], body: Any, content_type: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = post(data, content_type=content_type)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["predictions"]


def test_a_signature_says_which_types_columns_have(loaded: Callable[..., Any]) -> None:
    types = {
        "l": "long", "i": "integer", "d": "double", "f": "float", "b": "boolean", "s": "string",
        "day": "datetime", "time": "datetime", "bytes": "binary",
    }  # fmt: skip
    post = loaded("classes", signature=signature(**types))
    row = {
        "l": 1, "i": 1, "d": 1, "f": 1.5, "b": True, "s": None, "day": "2024-01-31",
        "time": "2024-01-31T12:00:00", "bytes": "AQI=",
    }  # fmt: skip
    expected = [
        "integer", "integer", "numeric", "numeric", "logical", "character", "Date",
        "POSIXct POSIXt", "list",
    ]  # fmt: skip
    assert classes(post, {"dataframe_records": [row]}) == expected
    rows = [row, {**row, "day": None, "time": None}]
    assert classes(post, {"dataframe_records": rows}) == expected
    # One time of day makes times of all.
    rows = [row, {**row, "day": "2024-01-31T00:00:00"}]
    assert classes(post, {"dataframe_records": rows})[6] == "POSIXct POSIXt"
    wide = {**row, "l": 2**40}
    assert classes(post, {"dataframe_records": [wide]})[0] == "numeric"
    header = ",".join(name for name in types if name != "bytes")
    csv = header + "\n1,1,1,1.5,True,x,2024-01-31,2024-01-31 12:00:00\n"
    assert classes(post, csv.encode(), "text/csv") == expected[:-1]


def test_without_a_signature_types_are_those_of_the_values(loaded: Callable[..., Any]) -> None:
    post = loaded("classes")
    row = {"i": 1, "d": 1.0, "b": False, "s": "2024-01-31", "n": None, "l": [1, 2], "o": {"a": 1}}
    expected = ["integer", "numeric", "logical", "character", "logical", "list", "list"]
    assert classes(post, {"dataframe_records": [row]}) == expected
    assert classes(post, {"instances": [[1, 0.5], [2, 1.5]]}) == ["numeric", "numeric"]
    assert classes(post, {"inputs": [1, 2]}) == ["integer"]
    assert classes(post, b"a,b\n1,x\n,y\n", "text/csv") == ["numeric", "character"]


def test_times_and_dates_keep_their_microseconds(loaded: Callable[..., Any]) -> None:
    post = loaded("same", signature=signature(day="datetime", time="datetime"))
    rows = [
        {"day": "1969-12-31", "time": "1900-01-01T00:00:00.000001"},
        {"day": "2024-02-29", "time": "2024-02-29T23:59:59.999999"},
        {"day": None, "time": None},
    ]
    answer = post(json.dumps({"dataframe_records": rows}).encode())
    assert json.loads(answer.body) == {"predictions": rows}


def test_params_are_arguments(loaded: Callable[..., Any]) -> None:
    described = signature(x="double")
    described["params"] = [{"name": "times", "type": "double", "default": 2.0, "shape": None}]
    post = loaded("params", signature=described)
    body = {"dataframe_records": [{"x": 1.5}]}
    assert json.loads(post(json.dumps(body).encode()).body) == {"predictions": [3.0]}
    body["params"] = {"times": 10.0}
    assert json.loads(post(json.dumps(body).encode()).body) == {"predictions": [15.0]}


def test_a_parquet_table(loaded: Callable[..., Any]) -> None:
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    moment = datetime.datetime(2024, 1, 31, 12, tzinfo=datetime.timezone.utc)
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "s": ["a", None],
            "d": [datetime.date(2024, 1, 31), None],
            "t": pd.to_datetime([moment, None]),
            "c": pd.Categorical(["u", "v"]),
        }
    )
    body = io.BytesIO()
    frame.to_parquet(body)
    answer = loaded("classes")(body.getvalue(), content_type="application/x-parquet")
    assert json.loads(answer.body)["predictions"] == [
        "integer", "character", "Date", "POSIXct POSIXt", "character"
    ]  # fmt: skip


def test_columns_of_pandas_own_types() -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "s": pd.array([None, None], "string"),
            "b": pd.array([True, None], "boolean"),
            "t": pd.to_datetime(["2024-01-31T12:00:00+02:00", None], utc=True),
            "c": pd.Categorical(["u", None]),
            "delta": pd.to_timedelta(["1s", None]),
            "n": np.array([1, 2], np.uint8),
        }
    )
    table = load(dump(frame))
    assert table["i"].tolist() == [1, None]
    assert table["s"].tolist() == [None, None]
    assert table["b"].tolist() == [True, None]
    assert table["t"].tolist() == [pd.Timestamp("2024-01-31T10:00:00"), pd.NaT]
    assert table["c"][0] == "u"
    assert pd.isna(table["c"][1])
    assert table["delta"][0] == 1.0
    assert math.isnan(table["delta"][1])
    assert table["n"].tolist() == [1, 2]


def test_damaged_answers_are_told_from_answers() -> None:
    whole = dump({"table": pd.DataFrame({"x": [1.0], "s": ["a"]}), "list": [1, "a", None][:1]})
    for length in range(len(whole)):
        with pytest.raises(NotReadable):
            load(whole[:length])
    random_of = random.Random(1)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random_of.randrange(len(damaged))] = random_of.randrange(256)
        with contextlib.suppress(NotReadable):
            load(bytes(damaged))
