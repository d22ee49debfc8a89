"""Bodies and content types over the WSGI application."""

from __future__ import annotations

import json
import math

import pytest

DOUBLES = [{"name": name, "type": "double"} for name in "abcd"]
JSON = "application/json"


def post(client, body, content_type=JSON, **headers):
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    return client.post("/invocations", data=body, content_type=content_type, headers=headers)


def answer(response):
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.headers["Content-Type"] == JSON
    return json.loads(response.get_data())["predictions"]


def error(response, status, code=None):
    assert response.status_code == status, response.get_data(as_text=True)
    body = json.loads(response.get_data())
    assert set(body) == {"error_code", "message"}
    assert code is None or body["error_code"] == code
    return body["message"]


@pytest.fixture
def doubles(models):
    return models.client(inputs=DOUBLES)


@pytest.fixture
def plain(models):
    return models.client()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": list("abcd"), "data": [[1, 2, 3, 4]]}},
        {"dataframe_split": {"columns": list("dcba"), "data": [[4, 3, 2, 1]]}},
        {"dataframe_split": {"columns": list("abcde"), "data": [[1, 2, 3, 4, "extra"]]}},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 3, "d": 4}]},
        [{"a": 1, "b": 2, "c": 3, "d": 4}],
        {"inputs": {"a": [1], "b": [2], "c": [3], "d": [4]}},
        {"inputs": [{"a": 1, "b": 2, "c": 3, "d": 4}]},
        {"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}]},
    ],
)
def test_json_formats_give_the_same_table(doubles, body):
    expected = {"columns": list("abcd"), "dtypes": ["float64"] * 4, "rows": [[1, 2, 3, 4]]}
    assert answer(post(doubles, body)) == dict(expected, params=None)


@pytest.mark.parametrize("content_type", ["text/csv", "application/csv"])
def test_csv(doubles, content_type):
    rows = answer(post(doubles, "d,c,b,a\n4,3,2,1\n8,7,6,5\n", content_type))["rows"]
    assert rows == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("body", ["1,2,3,4", "1,2,3,4\n", "1,2,3,4\r\n", " 1, 2.0,3e0,+4 "])
def test_a_single_line_of_numbers_is_a_row(doubles, plain, body):
    assert answer(post(doubles, body, "application/csv"))["rows"] == [[1, 2, 3, 4]]
    assert answer(post(plain, body, "application/csv"))["rows"] == [[1, 2, 3, 4]]


def test_csv_header_parameter(doubles, plain):
    two = "1,2,3,4\n5,6,7,8\n"
    rows = answer(post(doubles, two, "text/csv; header=absent"))["rows"]
    assert rows == [[1, 2, 3, 4], [5, 6, 7, 8]]
    only_header = answer(post(plain, "1,2", "text/csv; header=present"))
    assert (only_header["columns"], only_header["rows"]) == (["1", "2"], [])
    message = error(post(doubles, "1,2\n", "text/csv; header=absent"), 400)
    assert "4 columns" in message


def test_csv_without_header_keeps_text(models):
    client = models.client(inputs=[{"name": "n", "type": "string"}, {"name": "x", "type": "long"}])
    assert answer(post(client, "007,8\n", "text/csv;header=absent"))["rows"] == [["007", 8]]


def test_csv_times(models):
    client = models.client(inputs=[{"name": "t", "type": "datetime"}])
    dtypes = answer(post(client, "t\n2020-01-02\n2020-01-03T04:05:06\n", "text/csv"))["dtypes"]
    assert dtypes == ["datetime64[ns]"]
    assert "'t'" in error(post(client, "t\nyesterday?\n", "text/csv"), 400)


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/html", "application/xml", "application/json; charset=latin-1",
        "application/json; version=2", "text/csv; header=maybe", "application/json; header=present",
        "application/jsonl", ";", "application/json;charset",
    ],
)  # fmt: skip
def test_other_content_types_are_refused_with_a_list(doubles, content_type):
    message = error(post(doubles, "{}", content_type), 415)
    for accepted in ("application/json", "text/csv", "application/vnd.apache.parquet"):
        assert accepted in message


@pytest.mark.parametrize(
    "content_type",
    ["application/json;", "application/json; charset=UTF-8", 'Application/JSON; charset="utf-8"'],
)
def test_content_types_that_mean_json(doubles, content_type):
    post_body = {"inputs": {"a": [1], "b": [2], "c": [3], "d": [4]}}
    assert answer(post(doubles, post_body, content_type))["rows"] == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "nope", "[1, 2]", "[]", "5", '"text"', "null", "{}", '{"a": 1}',
        '{"inputs": [1], "instances": [1]}', '{"inputs": [1]}\0', b'{"inputs": ["\xff"]}',
        '{"inputs": [1], "inputs": [2]}', '{"inputs": [1], "params": {}, "params": {"x": 1}}',
        '{"dataframe_split": [1]}', '{"dataframe_split": {"columns": ["a"]}}',
        '{"dataframe_split": {"columns": ["a", [[]]], "data": 1, "index": []}}',
        '{"dataframe_split": {"data": [[1]], "colums": ["a"]}}', '{"dataframe_records": {"a": 1}}',
        '{"instances": [{"a": 1}, 2]}',
        '{"instances": {"a": [1, 2], "b": [1]}}',
    ],
)  # fmt: skip
def test_bodies_that_are_refused(plain, body):
    error(post(plain, body), 400, "BAD_REQUEST")


def test_inner_duplicates_and_repeated_words_are_no_duplicates(plain):
    body = '{"inputs": {"inputs": ["inputs", "inputs"]}}'
    assert answer(post(plain, body))["input"] == {"inputs": ["inputs", "inputs"]}


@pytest.mark.parametrize("depth", [400, 5000, 200000])
@pytest.mark.parametrize("inner", ["[", '{"a":'])
def test_deep_nesting_is_answered(models, depth, inner):
    plain = models.client("class Model:\n    def predict(self, model_input):\n        return 1\n")
    body = '{"inputs": ' + inner * depth + "1" + ("]" if inner == "[" else "}") * depth + "}"
    assert post(plain, body).status_code in (200, 400)
    assert answer(post(plain, {"inputs": [1]})) == 1


def test_numbers_of_any_length_are_answered(plain):
    message = error(post(plain, '{"inputs": [' + "9" * 1000000 + "]}"), 400)
    assert "digits" in message
    digits = "1" * 5000
    assert answer(post(plain, {"inputs": [digits]}))["input"] == [digits]


def test_large_integers_stay_integers(plain):
    values = [2**63 - 1, -(2**63), 2**53 + 1]
    assert answer(post(plain, {"inputs": values}))["input"] == values


def test_nan_is_read_and_becomes_null(plain):
    assert answer(post(plain, '{"inputs": [1.5, NaN, Infinity]}'))["input"] == [1.5, None, None]


def test_missing_columns_are_named(doubles):
    message = error(post(doubles, {"inputs": {"a": [1], "c": [1], "z": [2]}}), 400)
    assert "['b', 'd']" in message
    assert "['z']" in message


def test_ragged_lists_reach_a_model_without_a_signature(plain):
    sent = [["Cheese"], ["and", "Crackers"]]
    assert answer(post(plain, {"inputs": sent}))["input"] == sent


def test_raw_payload_is_not_wrapped(models):
    params = [{"name": "temperature", "type": "double", "default": 1.0, "shape": None}]
    message_type = {
        "type": "array",
        "items": {"type": "object", "properties": {"role": {"type": "string"}}},
    }
    client = models.client(inputs=[dict(message_type, name="messages")], params=params)
    response = post(client, {"messages": [{"role": "user"}], "temperature": 0.5})
    assert response.status_code == 200
    body = json.loads(response.get_data())
    assert body["params"] == {"temperature": 0.5}
    assert body["rows"] == [[[{"role": "user"}]]]


@pytest.mark.parametrize("key", ["messages", "prompt", "input"])
def test_raw_payload_without_signature_passes_as_it_is(plain, key):
    payload = {key: "x", "other": [1]}
    body = json.loads(post(plain, payload).get_data())
    assert body == {"input": payload, "params": {}} or body == {"input": payload, "params": None}


def test_signature_from_type_hints_gets_inputs_unread(models):
    client = models.client(inputs=[{"type": "long"}], is_signature_from_type_hint=True)
    assert answer(post(client, {"inputs": {"any": "thing"}}))["input"] == {"any": "thing"}
    assert "inputs" in error(post(client, {"instances": [1]}), 400, "INVALID_PARAMETER_VALUE")


def test_parquet(doubles):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    import io

    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame({"a": [1.5], "b": [2.0], "c": [3.0], "d": [4.0]}).to_parquet(buffer)
    for content_type in ("application/vnd.apache.parquet", "application/x-parquet"):
        assert answer(post(doubles, buffer.getvalue(), content_type))["rows"] == [[1.5, 2, 3, 4]]
    cut = buffer.getvalue()[:-20]
    assert "Parquet" in error(post(doubles, cut, "application/x-parquet"), 400)
    error(post(doubles, b"", "application/x-parquet"), 400)


def test_parquet_that_grows_too_large_is_refused(models):
    pyarrow = pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install pyarrow")
    import io

    def packed(values):
        buffer = io.BytesIO()
        parquet.write_table(pyarrow.table({"a": values}), buffer, compression="gzip")
        return buffer.getvalue()

    client = models.client(server={"max_body": 100000})
    numbers = packed(pyarrow.array([1]).take(pyarrow.array([0] * 1000000)))
    words = packed(pyarrow.array(["x" * 5000]).take(pyarrow.array([0] * 10000)))
    for body in (numbers, words):
        assert len(body) < 100000
        assert "decodes to more" in error(post(client, body, "application/x-parquet"), 413)
    lists = packed(pyarrow.array([[1] * 5000]).take(pyarrow.array([0] * 1000)))
    assert "decodes to more" in error(post(client, lists, "application/x-parquet"), 413)
    few = packed(pyarrow.array(["x" * 50]).take(pyarrow.array([0] * 1000)))
    assert len(answer(post(client, few, "application/x-parquet"))["rows"]) == 1000


def test_parquet_keeps_what_pandas_noted(models):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    import io

    import pandas as pd

    code = """
        class Model:
            def predict(self, model_input):
                return [str(dtype) for dtype in model_input.dtypes] + list(model_input.index)
    """
    frame = pd.DataFrame(
        {"c": pd.Categorical(["x", "y"]), "t": pd.to_datetime(["2020-01-01"] * 2), "l": [[1], [2]]},
        index=[5, 7],
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    got = answer(post(models.client(code), buffer.getvalue(), "application/x-parquet"))
    assert got == [str(dtype) for dtype in pd.read_parquet(buffer).dtypes] + [5, 7]


def test_same_answer_with_and_without_orjson(plain, monkeypatch):
    from scoring_server.formats import json_body

    if json_body.orjson is None:
        pytest.skip("no orjson, or too old a one: pip install -U orjson")

    body = '{"inputs": {"a": [1, 2.5, -0.0, 1e300, "\\u00e4", null, true, 12345678901234567]}}'
    with_orjson = answer(post(plain, body))
    monkeypatch.setattr(json_body, "orjson", None)
    assert answer(post(plain, body)) == with_orjson
    assert math.copysign(1, with_orjson["input"]["a"][2]) == -1


def test_half_a_surrogate_pair_in_a_column_name_is_refused(models):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    pd = pytest.importorskip("pandas", reason="no pandas: pip install pandas")
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
    columns = ["a", "\ud800", "a", "b", 1.5]
    body = {"dataframe_split": {"columns": columns, "data": [[-1] * 5], "index": [3]}}
    message = error(post(models.client(inputs=tensor), body), 400)
    if int(pd.__version__.split(".")[0]) >= 2:
        # pandas 1 keeps such names, and the table is refused for its shape.
        assert "not Unicode" in message


OBJECT = {"type": "object", "properties": {"a": {"type": "long"}}, "required": True}
LONGS = {"type": "array", "items": {"type": "long"}, "required": True}
MATRIX = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}


def of_column(value):
    return {"dataframe_split": {"columns": ["x"], "data": [[value]]}}


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (OBJECT, of_column([1]), "Expected an object, got array [1]."),
        (OBJECT, {"inputs": 1}, "Input 'x' cannot be read as object {a: long}: Expected an object"),
        (LONGS, of_column("q"), "Column 'x' cannot be read as array of long: Expected an array, got"
         " string 'q'."),
        (LONGS, {"inputs": {"x": [1, True]}}, "Expected long, got true."),
        (LONGS, of_column([[1]]), "Expected long, got array [1]."),
        ({"type": "double"}, of_column({"a": 1}), "got object {'a': 1}."),
        ({"type": "double"}, {"dataframe_split": {"columns": ["x"], "data": [[1], [None], ["q"]]}},
         "Column 'x' cannot be read as double: got string 'q' in row 3 of 3."),
        ({"type": "double"}, {"instances": [{"x": 1}, {"x": "q"}]}, "Input 'x' cannot be read as"
         " double: got string 'q'."),
        ({"type": "double"}, {"instances": [[1, 2], [3]]}, "got lists of different lengths"),
        ({"type": "double"}, {"instances": [[1, 2]]}, "Column 'x': expected double, got array"),
        ({"type": "double"}, {"inputs": {"y": 1}}, "The inputs ['x'] are missing."),
        ({"type": "binary"}, {"dataframe_split": {"columns": ["x"], "data": [[None], [1]]}},
         "Expected base64 text, got null."),
        ({"type": "datetime"}, of_column("q"), "Column 'x' cannot be read as datetime (ISO 8601):"
         " got string 'q'."),
        ({"type": "datetime"}, {"instances": [[1, 2]]}, "Column 'x': expected datetime, got array"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_what_was_sent_and_what_is_wanted(models, kind, body, said):
    client = models.client(inputs=[{"required": True, **kind, "name": "x"}])
    refused = post(client, body)
    assert refused.status_code == 400
    assert said in json.loads(refused.get_data())["message"]


@pytest.mark.parametrize(
    ("inputs", "sent", "said"),
    [
        ([{"type": "double"}], {"inputs": [[[1]]]}, "Expected a table, which has two dimensions"),
        ([MATRIX], {"inputs": [{"x": 1}]}, "send one array of values, not objects."),
        ([MATRIX], of_column(1), "the table holds single values, which do not fill shape (-1, 2)."),
        ([{"type": "double", "name": name} for name in "xy"],
         {"inputs": {"x": [1, 2], "y": [1, 2, 3]}},
         "The inputs differ in their number of rows: {'x': 2, 'y': 3}."),
    ],
)  # fmt: skip
def test_a_refused_shape_is_told_without_the_words_of_pandas(models, inputs, sent, said):
    refused = post(models.client(inputs=inputs), sent)
    assert refused.status_code == 400
    assert said in json.loads(refused.get_data())["message"]
