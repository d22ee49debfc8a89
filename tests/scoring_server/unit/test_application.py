"""Predictions and the server's own routes, by way of the Flask application."""

from __future__ import annotations

import json

import pytest

JSON = "application/json"


def post(client, body, **headers):
    return client.post("/invocations", data=body, content_type=JSON, headers=headers)


def test_routes(models):
    client = models.client()
    for path in ("/ping", "/health"):
        response = client.get(path)
        assert (response.status_code, response.get_data()) == (200, b"\n")
        assert response.headers["Content-Type"] == JSON
    assert client.get("/version").get_data() == b"2.10.2"
    assert client.get("/nothing").status_code == 404
    assert json.loads(client.get("/nothing").get_data())["error_code"] == "ENDPOINT_NOT_FOUND"
    for method in (client.get, client.put, client.delete):
        assert method("/invocations").status_code == 405
    assert client.post("/ping").status_code == 405


def test_info_reports_what_really_runs(models):
    import os
    import sys

    from scoring_server import __version__

    client = models.client(name="iris", uuid="u1", model_id="m-1")
    info = json.loads(client.get("/info").get_data())
    assert info["python"] == ".".join(map(str, sys.version_info[:3]))
    assert info["pid"] == os.getpid()
    assert info["scoring_server"] == __version__
    assert info["model"]["name"] == "iris"
    assert info["model"]["uuid"] == "u1"
    assert info["model"]["model_id"] == "m-1"
    assert info["model"]["flavors"] == ["sklearn"]
    assert info["model"]["mlflow_version"] == "2.10.2"
    assert set(info["environment"]) == {"env_manager", "as_of", "key"}


RAISES = """
    class Model:
        def predict(self, model_input):
            if model_input == "exit":
                raise SystemExit(3)
            raise ValueError("the model's own problem")
"""


def test_exception_of_the_model(models):
    response = post(models.client(RAISES), '{"inputs": "x"}')
    assert response.status_code == 400
    body = json.loads(response.get_data())
    assert body["error_code"] == "BAD_REQUEST"
    assert "ValueError" in body["message"]
    assert "the model's own problem" in body["message"]
    assert "stack_trace" not in body


def test_stack_trace_with_debug_only(models):
    client = models.client(RAISES, server={"debug": True})
    body = json.loads(post(client, '{"inputs": "x"}').get_data())
    assert "in predict" in body["stack_trace"]


def test_exit_in_a_model_is_an_error_like_others(models):
    response = post(models.client(RAISES), '{"inputs": "exit"}')
    assert response.status_code == 400
    assert "SystemExit" in json.loads(response.get_data())["message"]


def test_exception_like_those_of_mlflow_keeps_its_status(models):
    code = """
        class MlflowException(Exception):
            error_code = "RESOURCE_DOES_NOT_EXIST"
            def get_http_status_code(self):
                return 404

        class Model:
            def predict(self, model_input):
                raise MlflowException("no such thing")
    """
    response = post(models.client(code), '{"inputs": "x"}')
    assert response.status_code == 404
    assert json.loads(response.get_data())["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_too_large_a_body_is_refused_before_it_is_read(models):
    response = post(models.client(server={"max_body": 10}), '{"inputs": [1, 2, 3]}')
    assert response.status_code == 413
    assert "max-body" in json.loads(response.get_data())["message"]


STREAM = """
    class Model:
        def predict(self, model_input, params=None):
            return {"whole": model_input}

        def predict_stream(self, model_input, params=None):
            if model_input.get("fail") == "first":
                raise ValueError("at once")
            yield {"got": model_input}
            yield "text"
            if model_input.get("fail"):
                raise ValueError("halfway")
            yield {"params": params}
"""


@pytest.fixture
def stream(models):
    return models.client(STREAM, flavor={"streamable": True})


def events(response):
    assert response.headers["Content-Type"].startswith("text/event-stream")
    return response.get_data(as_text=True).split("\n\n")[:-1]


EVENTS = {"Accept": "text/event-stream"}


@pytest.mark.parametrize("body", [{"messages": "m"}, {"inputs": {"messages": "m"}}])
def test_streams(stream, body):
    response = post(stream, json.dumps(body), **EVENTS)
    got = events(response)
    assert len(got) == 4
    assert all(event.startswith("data: ") for event in got)
    assert json.loads(got[0][6:])["got"]["messages"] == "m"
    assert json.loads(got[1][6:]) == "text"
    assert got[3] == "data: [DONE]"


def test_no_stream_unless_asked_for(stream, models):
    # The payload's `stream` is the model's own parameter, as in MLflow.
    for payload in ({"messages": "m", "stream": False}, {"messages": "m", "stream": True}):
        response = post(stream, json.dumps(payload))
        assert response.headers["Content-Type"] == JSON
        assert json.loads(response.get_data()) == {"whole": payload}


NOT_IMPLEMENTED = """
    class Model:
        def predict(self, model_input, params=None):
            return {"whole": model_input}

        def predict_stream(self, model_input, params=None):
            raise NotImplementedError("Override it.")
            yield
"""


def test_a_model_that_cannot_stream_answers_whole(models):
    # The second has MLflow's flag that it streams, and its base class's method.
    without = models.client(NOT_IMPLEMENTED)
    for client in (without, models.client(NOT_IMPLEMENTED, flavor={"streamable": True})):
        response = post(client, json.dumps({"messages": "m"}), **EVENTS)
        assert response.headers["Content-Type"] == JSON
        assert json.loads(response.get_data()) == {"whole": {"messages": "m"}}


def test_errors_of_streams(stream):
    response = post(stream, json.dumps({"prompt": "p", "fail": "first"}), **EVENTS)
    assert response.status_code == 400
    assert "at once" in json.loads(response.get_data())["message"]
    got = events(post(stream, json.dumps({"prompt": "p", "fail": "later"}), **EVENTS))
    assert got[-1].startswith("event: error\ndata: ")
    assert "halfway" in json.loads(got[-1].split("data: ")[1])["message"]
    two = json.dumps({"inputs": [{"a": 1}, {"a": 2}]})
    assert post(stream, two, Accept="text/event-stream").status_code == 400


def test_an_abandoned_stream_ends_the_model_s_work(models):
    code = """
        class Model:
            ended = []
            def predict(self, model_input, params=None):
                return Model.ended
            def predict_stream(self, model_input, params=None):
                try:
                    while True:
                        yield 1
                finally:
                    Model.ended.append(True)
    """
    application = models.application(code, flavor={"streamable": True})
    body = b'{"prompt": "p"}'
    pieces = application.answer(models.invocation(body, accept="text/event-stream")).body
    assert next(pieces) == b"data: 1\n\n"
    pieces.close()
    assert json.loads(application.answer(models.invocation(body)).body) == [True]


def test_every_error_has_its_stack_trace_with_debug(models):
    """Row D24: also those that are found before the model is asked."""
    client = models.client(RAISES, server={"debug": True})
    for body, kind in ((b"", "text/csv"), (b"{", "application/json"), (b"x", "text/plain")):
        answer = client.post("/invocations", data=body, content_type=kind)
        assert answer.status_code in (400, 415)
        assert "Error" in answer.get_json()["stack_trace"], kind
    plain = models.client(RAISES)
    refused = plain.post("/invocations", data=b"", content_type="text/csv")
    assert "stack_trace" not in refused.get_json()
