"""The table of routes: who answers, 404, 405, tokens; a route and a protocol from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoring_server.config import ConfigError, ServerConfig
from scoring_server.errors import ScoringError
from scoring_server.formats.parsing import ModelInput
from scoring_server.protocols.registry import route_groups
from scoring_server.route_table import RouteTable
from scoring_server.routes import PAGES, WORKER, Answer, Request, Route, RouteGroup
from scoring_server.scoring.application import Application
from scoring_server.scoring.protocol import WireProtocol
from scoring_server.service import Batching
from scoring_server.wsgi import create_app

ROOT = Path(__file__).resolve().parents[3]


def hello(request, vitals):
    return Answer(
        200, [("Content-Type", "text/plain")], b"hello " + request.params["name"].encode()
    )


class Greetings(RouteGroup):
    """A route that no file of the package knows."""

    name = "greetings"
    routes = (Route("/hello/<name>", ("GET",), PAGES, hello),)


class Plain(WireProtocol):
    """A protocol that no file of the package knows: numbers, one a line; errors as text."""

    name = "plain"
    routes = (Route("/plain/<version>", ("POST",), WORKER),)

    def read(self, request, signature):
        if request.headers.get("x-unit") != "m":
            raise ScoringError("metres only", status=422)
        import numpy

        return ModelInput(numpy.array([[float(line)] for line in request.body.split()]))

    def write(self, predictions, model_input):
        lines = "".join(f"{value:g}\n" for value in predictions)
        return Answer(200, [("X-Rows", str(len(predictions)))], lines.encode())

    def error(self, error):
        return Answer(error.status, [("Content-Type", "text/plain")], error.message.encode())


SUM = """
    class Model:
        calls = 0
        def predict(self, model_input):
            Model.calls += 1
            return model_input.sum(axis=1)
"""


@pytest.fixture
def table():
    return RouteTable([*route_groups(ServerConfig()), Greetings(), Plain()])


def test_what_takes_a_request(table):
    assert table.find("POST", "/invocations").route.answered_by == WORKER
    assert table.find("HEAD", "/ping").is_open
    assert not table.find("GET", "/info").is_open
    match = table.find("GET", "/hello/a%20b")
    assert (match.params, match.label) == ({"name": "a b"}, "/hello/<name>")
    assert table.find("GET", "/%70ing") == table.find("GET", "/ping")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed", "label"),
    [
        ("POST", "/ping", 405, ("GET", "HEAD"), "/ping"),
        ("GET", "/invocations", 405, ("POST",), "/invocations"),
        ("DELETE", "/hello/x", 405, ("GET", "HEAD"), "/hello/<name>"),
        ("GET", "/nothing", 404, (), "other"),
        ("GET", "/ping/", 404, (), "other"),
        ("GET", "/hello/", 404, (), "other"),
        ("GET", "/hello/a%2Fb", 404, (), "other"),
        ("GET", "*", 404, (), "other"),
    ],
)
def test_what_nothing_takes(table, method, path, status, allowed, label):
    match = table.find(method, path)
    # What is open is a method and a path: a POST to /ping needs the token.
    assert not match.is_open
    assert (match.route, match.allowed, match.label) == (None, allowed, label)
    answer = match.refusal(method, path)
    assert answer.status == status
    assert dict(answer.headers).get("Allow") == (", ".join(allowed) or None)


def test_a_protocol_reports_405_in_its_own_form(table):
    answer = table.find("GET", "/plain/1").refusal("GET", "/plain/1")
    assert (answer.status, answer.body) == (405, b"GET /plain/1: Method Not Allowed.")


def test_two_routes_for_the_same_requests_are_refused():
    with pytest.raises(ValueError, match="/hello/<name>"):
        RouteTable([Greetings(), Greetings()])


def test_a_route_from_outside_is_answered(models):
    config = models.config()
    client = create_app(config, [*route_groups(config), Greetings()]).test_client()
    response = client.get("/hello/you")
    assert (response.status_code, response.get_data()) == (200, b"hello you")
    assert client.post("/hello/you").headers["Allow"] == "GET, HEAD"


def test_a_protocol_from_outside_is_answered_and_batched(models):
    config = models.config(SUM, server={"max_batch_rows": 100})
    from scoring_server.model.loading import load_model

    model = load_model(config)
    application = Application(config, model, Batching.of(config.server))
    protocol = Plain()

    def request(body, unit="m"):
        params = {"version": "1"}
        headers = {"x-unit": unit}
        return Request(protocol, protocol.routes[0], "POST", "/plain/1", params, "", headers, body)

    answers = models.together(application, [request(b"1 2"), request(b"3"), request(b"4", "ft")])
    assert [(answer.status, answer.body) for answer in answers] == [
        (200, b"1\n2\n"),
        (200, b"3\n"),
        (422, b"metres only"),
    ]
    assert dict(answers[0].headers) == {"X-Rows": "2"}
    assert type(model.implementation).calls == 1


def test_requests_of_several_protocols_share_a_batch(models):
    application, protocol = models.application(SUM, server={"max_batch_rows": 100}), Plain()
    plain = Request(protocol, protocol.routes[0], "POST", "/", {}, "", {"x-unit": "m"}, b"1 2")
    tensor = models.invocation(b'{"dataframe_split": {"columns": ["a"], "data": [[5.0]]}}')
    answers = models.together(application, [plain, tensor, plain])
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert json.loads(answers[1].body) == {"predictions": [{"0": 5.0}]}


@pytest.mark.parametrize("room", ["front.front", "worker.process"])
def test_the_front_and_the_worker_s_process_need_no_numpy(room):
    code = "import sys; sys.path.insert(0, sys.argv[1])\nimport scoring_server." + room + "\n"
    code += "assert not {'numpy', 'pandas', 'flask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(ROOT)], check=True)


@pytest.mark.parametrize("root", ["/models/iris", "/models/iris/"])
def test_a_root_path_is_taken_off_where_a_proxy_leaves_it(root):
    groups = [*route_groups(ServerConfig()), Greetings(), Plain()]
    table, plain = RouteTable(groups, root), RouteTable(groups)
    for path in ("/ping", "/%70ing", "/invocations", "/hello/a%20b", "/hello/a%2Fb",
                 "/v2/models/m/infer", "/v2/health/live"):  # fmt: skip
        for method in ("GET", "POST"):
            expected = plain.find(method, path)
            assert table.find(method, path) == expected
            assert table.find(method, root.rstrip("/") + path) == expected
    for path in ("/%252570ing", "/modelsiris/ping", "/models/irisping"):
        assert table.find("GET", path).route is None
        assert table.find("GET", root.rstrip("/") + path).route is None
    # Without a root path it is a route: who chooses such a one has both.
    assert RouteTable(groups, "/v2").find("GET", "/v2/v2/health/live").route is not None
    assert RouteTable(groups, "/v2").find("GET", "/v2/health/live").route is not None
    assert RouteTable(groups, "/v2").find("GET", "/v2/ping").route is not None
    below = root.rstrip("/") + "/v2/nothing"
    assert table.find("GET", below).group.name == "open_inference"


@pytest.mark.parametrize("root", ["models", "/a b", "/a?b", "/../a", "//a", "http://x/a", "/%61"])
def test_what_is_no_root_path(root):
    with pytest.raises(ConfigError, match="no root path"):
        RouteTable(route_groups(ServerConfig()), root)
