"""The WSGI application: routes, limits, time limits, streams."""

from __future__ import annotations

import io
import json
import threading

import pytest
from werkzeug.test import Client

from scoring_server.errors import ScoringError
from scoring_server.model.loading import load_model
from scoring_server.scoring.application import create_application, create_wsgi, read_body
from scoring_server.scoring.predictor import Predictor

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

    config = models.config(name="iris", uuid="u1", model_id="m-1")
    client = Client(create_wsgi(config, load_model(config)))
    info = json.loads(client.get("/info").get_data())
    assert info["python"] == ".".join(map(str, sys.version_info[:3]))
    assert info["pid"] == os.getpid()
    assert info["scoring_server"] == __version__
    assert info["model"]["name"] == "iris"
    assert info["model"]["uuid"] == "u1"
    assert info["model"]["model_id"] == "m-1"
    assert info["model"]["flavors"] == ["sklearn"]
    assert info["model"]["mlflow_version"] == "2.10.2"
    assert set(info["environment"]) == {"manager", "key"}


def test_flask_alone_answers_the_same(models):
    config = models.config()
    model = load_model(config)
    flask_only = Client(create_application(config, model))
    with_front = Client(create_wsgi(config, model))
    for body in ('{"inputs": [1]}', "nope", ""):
        first, second = post(flask_only, body), post(with_front, body)
        assert first.status_code == second.status_code
        assert first.get_data() == second.get_data()
        assert first.headers["Content-Type"] == second.headers["Content-Type"]


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


class Untouchable(io.BytesIO):
    def read(self, *size):
        raise AssertionError("read")


def test_too_large_a_body_is_not_read():
    environ = {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "101"}
    with pytest.raises(ScoringError) as caught:
        read_body(environ, 100)
    assert caught.value.status == 413


def test_chunked_body_is_read_up_to_the_limit():
    source = io.BytesIO(b"x" * 1000000)
    environ = {"wsgi.input": source, "HTTP_TRANSFER_ENCODING": "chunked"}
    with pytest.raises(ScoringError) as caught:
        read_body(environ, 100000)
    assert caught.value.status == 413
    assert source.tell() < 300000
    environ["wsgi.input"] = io.BytesIO(b"x" * 1000)
    assert read_body(environ, 1000) == b"x" * 1000


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "²"])
def test_content_length_that_is_no_number(length):
    with pytest.raises(ScoringError) as caught:
        read_body({"wsgi.input": Untouchable(), "CONTENT_LENGTH": length}, 100)
    assert caught.value.status == 400


def test_body_that_ends_early():
    with pytest.raises(ScoringError, match="3 of 10"):
        read_body({"wsgi.input": io.BytesIO(b"abc"), "CONTENT_LENGTH": "10"}, 100)


def test_no_length_is_an_empty_body():
    assert read_body({"wsgi.input": Untouchable()}, 100) == b""


def test_413_closes_the_connection(models):
    client = models.client(server={"max_body": 10})
    response = post(client, '{"inputs": [1, 2, 3]}')
    assert response.status_code == 413
    assert response.headers["Connection"] == "close"
    assert "max-body" in json.loads(response.get_data())["message"]


def test_predictor_gives_results_and_errors():
    predictor = Predictor()
    assert predictor.run(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        predictor.run(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        predictor.run(lambda: exit(1))
    assert predictor.run(lambda: 6) == 6


def test_one_prediction_at_a_time():
    predictor = Predictor(threads=1)
    names = []
    threads = [
        threading.Thread(
            target=lambda: predictor.run(lambda: names.append(threading.current_thread().name))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["predictor-0"] * 8


def test_several_predictor_threads_run_side_by_side():
    predictor = Predictor(threads=2)
    both = threading.Barrier(2, timeout=30)
    threads = [threading.Thread(target=predictor.run, args=(both.wait,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken


def test_time_limit():
    stuck = []
    predictor = Predictor(timeout=0.05, on_stuck=lambda: stuck.append(True))
    release, begun, ran = threading.Event(), threading.Event(), []

    def long_work():
        begun.set()
        release.wait(30)

    with pytest.raises(ScoringError) as caught:
        predictor.run(long_work)
    assert (caught.value.status, caught.value.error_code) == (504, "DEADLINE_EXCEEDED")
    assert begun.is_set()
    assert stuck == [True]
    # Work that waits behind it is dropped, and that is no reason to replace the worker again.
    with pytest.raises(ScoringError) as caught:
        predictor.run(lambda: ran.append(True))
    assert caught.value.status == 504
    assert stuck == [True]
    release.set()
    predictor.timeout = 30
    assert predictor.run(lambda: 7) == 7
    assert ran == []


def test_time_limit_over_http(models):
    code = """
        import threading
        class Model:
            def predict(self, model_input):
                threading.Event().wait(float(model_input))
                return model_input
    """
    stuck = []
    config = models.config(code, server={"timeout": 0.05})
    client = Client(create_wsgi(config, load_model(config), lambda: stuck.append(True)))
    response = post(client, '{"inputs": 1.0}')
    assert response.status_code == 504
    assert json.loads(response.get_data())["error_code"] == "DEADLINE_EXCEEDED"
    assert stuck == [True]
    # The server process goes on and its health does not depend on the model.
    assert client.get("/ping").status_code == 200


def test_predictor_works_after_a_fork(models):
    import os

    predictor = Predictor(timeout=30)
    assert predictor.run(lambda: 1) == 1
    pid = os.fork()
    if pid == 0:
        os._exit(predictor.run(lambda: 7))
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7


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


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"messages": "m", "stream": True}, {}),
        ({"messages": "m"}, {"Accept": "text/event-stream"}),
        ({"inputs": {"messages": "m"}}, {"Accept": "text/event-stream"}),
    ],
)
def test_streams(stream, body, headers):
    response = post(stream, json.dumps(body), **headers)
    got = events(response)
    assert len(got) == 4
    assert all(event.startswith("data: ") for event in got)
    assert json.loads(got[0][6:])["got"]["messages"] == "m"
    assert json.loads(got[1][6:]) == "text"
    assert got[3] == "data: [DONE]"


def test_no_stream_unless_asked_for(stream, models):
    response = post(stream, json.dumps({"messages": "m", "stream": False}))
    assert json.loads(response.get_data()) == {"whole": {"messages": "m", "stream": False}}
    # A model that cannot stream answers as ever.
    response = post(models.client(), json.dumps({"messages": "m", "stream": True}))
    assert response.headers["Content-Type"] == JSON


def test_errors_of_streams(stream):
    response = post(stream, json.dumps({"prompt": "p", "stream": True, "fail": "first"}))
    assert response.status_code == 400
    assert "at once" in json.loads(response.get_data())["message"]
    got = events(post(stream, json.dumps({"prompt": "p", "stream": True, "fail": "later"})))
    assert got[-1].startswith("event: error\ndata: ")
    assert "halfway" in json.loads(got[-1].split("data: ")[1])["message"]
    two = json.dumps({"inputs": [{"a": 1}, {"a": 2}]})
    assert post(stream, two, Accept="text/event-stream").status_code == 400


def test_abandoned_stream_frees_the_predictor():
    predictor = Predictor(timeout=30)
    made = []

    def numbers():
        for number in range(10**9):
            made.append(number)
            yield number

    items = predictor.iterate(numbers)
    assert next(items) == 0
    items.close()
    assert predictor.run(lambda: "free") == "free"
    assert len(made) < 10**7
