"""Every request on MLflow's page "Deploy MLflow Model as a Local Inference Server"."""

from __future__ import annotations

import json

import pytest

JSON = "application/json"
DOUBLES = [{"name": name, "type": "double"} for name in "abcd"]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]


def param(name, kind, default):
    return {"name": name, "type": kind, "default": default, "shape": None}


MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
}
CHAT = {
    "inputs": [{"type": "array", "items": MESSAGE, "name": "messages", "required": True}],
    "params": [param("temperature", "double", 1.0), param("max_tokens", "long", 10)],
}
QUESTION = {
    "inputs": [{"name": "question", "type": "string"}, {"name": "context", "type": "string"}],
    "params": [param("max_answer_len", "long", 15)],
}


def send(client, body, content_type=JSON):
    response = client.post("/invocations", data=body, content_type=content_type)
    assert response.status_code == 200, response.get_data(as_text=True)
    return json.loads(response.get_data())


@pytest.mark.parametrize("content_type", ["application/json", "application/json;"])
def test_first_request(models, content_type):
    client = models.client(inputs=TENSOR)
    body = '{"inputs": [[1, 2], [3, 4], [5, 6]]}'
    assert send(client, body, content_type)["predictions"]["input"] == [[1, 2], [3, 4], [5, 6]]


def test_csv_line(models):
    client = models.client(inputs=DOUBLES)
    assert send(client, "1,2,3,4", "application/csv")["predictions"]["rows"] == [[1, 2, 3, 4]]


def test_table_formats(models):
    client = models.client(inputs=DOUBLES)
    row = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    split = {"index": [0], "columns": list(row), "data": [list(row.values())]}
    for body in ({"dataframe_split": split}, {"dataframe_records": [row]}):
        assert send(client, json.dumps(body))["predictions"]["rows"] == [[1, 2, 3, 4]]


def test_instances_and_inputs(models):
    client = models.client()
    assert send(client, '{"instances": [1.0, 2.0, 5.0]}')["predictions"]["input"] == [1, 2, 5]
    words = [["Cheese"], ["and", "Crackers"]]
    assert send(client, json.dumps({"inputs": words}))["predictions"]["input"] == words


def test_wrapped_chat_with_params(models):
    client = models.client(**CHAT)
    body = """{
    "inputs": {"messages": [{"role": "user", "content": "Tell a joke!"}]},
    "params": {
        "temperature": 0.5,
        "max_tokens": 20
    }
}"""
    got = send(client, body)["predictions"]
    assert got["params"] == {"temperature": 0.5, "max_tokens": 20}
    assert got["columns"] == ["messages"]


def test_params(models):
    client = models.client(**QUESTION)
    body = """{
    "inputs": {"question": ["What color is it?"],
                "context": ["Some people said it was green but I know that it is pink."]},
    "params": {"max_answer_len": 10}
}"""
    got = send(client, body)["predictions"]
    assert got["params"] == {"max_answer_len": 10}
    assert got["columns"] == ["question", "context"]
    assert got["rows"][0][0] == "What color is it?"


def test_raw_chat(models):
    client = models.client(**CHAT)
    body = {
        "messages": [{"role": "user", "content": "Tell a joke!"}],
        "temperature": 0.5,
        "max_tokens": 20,
    }
    got = send(client, json.dumps(body))
    assert "predictions" not in got
    assert got["params"] == {"temperature": 0.5, "max_tokens": 20}
    assert got["rows"] == [[body["messages"]]]


BINARY_COLUMN = """[
    {"a": 0, "b": "dGVzdCBiaW5hcnkgZGF0YSAw"},
    {"a": 1, "b": "dGVzdCBiaW5hcnkgZGF0YSAx"},
    {"a": 2, "b": "dGVzdCBiaW5hcnkgZGF0YSAy"}
]"""
DATETIME_COLUMN = """[
    {"a": 0, "b": "2020-01-01T00:00:00Z"},
    {"a": 1, "b": "2020-02-01T12:34:56Z"},
    {"a": 2, "b": "2021-03-01T00:00:00Z"}
]"""
SEES_COLUMN_B = """
    class Model:
        def predict(self, model_input):
            return [repr(value) for value in model_input["b"]] + [str(model_input["b"].dtype)]
"""


def test_binary_column(models):
    inputs = [{"name": "a", "type": "long"}, {"name": "b", "type": "binary"}]
    got = send(models.client(SEES_COLUMN_B, inputs=inputs), BINARY_COLUMN)["predictions"]
    assert got == [f"b'test binary data {number}'" for number in range(3)] + ["object"]


def test_datetime_column(models):
    inputs = [{"name": "a", "type": "long"}, {"name": "b", "type": "datetime"}]
    got = send(models.client(SEES_COLUMN_B, inputs=inputs), DATETIME_COLUMN)["predictions"]
    assert got[-1] == "datetime64[ns]"
    assert got[1] == "Timestamp('2020-02-01 12:34:56')"


def test_other_endpoints(models):
    client = models.client()
    for path in ("/ping", "/health"):
        response = client.get(path)
        assert (response.status_code, response.get_data()) == (200, b"\n")
    assert client.get("/version").get_data() == b"2.10.2"
