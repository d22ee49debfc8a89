"""`/openapi.json`: every route is described, as the server has it."""

from __future__ import annotations

import json
import re

import pytest

from scoring_server.config import ServerConfig
from scoring_server.protocols.openapi import openapi
from scoring_server.protocols.registry import route_groups
from scoring_server.routes import PAGES, Description, Route, RouteGroup
from scoring_server.wsgi import create_app

DOUBLES = [{"name": name, "type": "double"} for name in "ab"]


def configuration(flavor, **server):
    model = {"path": "/m", "flavor": flavor, "names": ["m"], "version": "7"}
    return ServerConfig.from_dict({"model": model, "server": server})


def described(config, groups=None):
    return openapi(config, route_groups(config) if groups is None else groups)


@pytest.mark.parametrize("flavor", ["python_function", "crate"])
def test_every_route_is_described(flavor):
    config = configuration(flavor)
    document = described(config)
    for group in route_groups(config):
        operations = group.describe().operations
        routes = {f"{method} {route.path}" for route in group.routes for method in route.methods}
        # Nothing is described that is not there, either.
        assert set(operations) == routes, group.name
        assert all(operation["summary"] for operation in operations.values())
        for route in group.routes:
            path = re.sub(r"<(\w+)>", r"{\1}", route.path)
            assert set(document["paths"][path]) >= {method.lower() for method in route.methods}


def test_operations_have_names_of_their_own():
    document = described(configuration("crate"))
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(set(names)) == len(names)


def test_a_group_from_outside_is_described_by_itself(models):
    class Greetings(RouteGroup):
        name = "greetings"
        routes = (Route("/hello/<name>", ("GET",), PAGES, lambda *_: None),)

        def describe(self):
            operation = {"summary": "Greets", "responses": {"200": {"description": "Hello."}}}
            return Description({"GET /hello/<name>": operation})

    config = models.config()
    client = create_app(config, [*route_groups(config), Greetings()]).test_client()
    document = json.loads(client.get("/openapi.json").get_data())
    operation = document["paths"]["/hello/{name}"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["name"]
    assert {"200", "400", "404", "500", "504"} <= set(operation["responses"])


def test_two_meanings_of_one_name_are_refused():
    class Other(RouteGroup):
        def describe(self):
            return Description({}, {"Error": {"type": "string"}})

    with pytest.raises(ValueError, match="Error"):
        described(configuration("python_function"), [Other()])


def test_a_token_is_told_of(models, tmp_path):
    token = tmp_path / "token"
    token.write_text("sesame")
    client = models.client(inputs=DOUBLES, server={"token_file": str(token)})
    assert client.get("/openapi.json").status_code == 401
    answer = client.get("/openapi.json", headers={"Authorization": "Bearer sesame"})
    document = json.loads(answer.get_data())
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    ping, scored = (document["paths"][p] for p in ("/ping", "/invocations"))
    assert ping["get"]["security"] == []
    assert "401" not in ping["get"]["responses"]
    assert "security" not in scored["post"]
    assert "401" in scored["post"]["responses"]


def test_without_a_token_nothing_is_said_of_one(models):
    document = json.loads(models.client().get("/openapi.json").get_data())
    assert "security" not in document
    assert "401" not in json.dumps(document)


def test_paths_with_a_version_are_there_where_the_model_has_one(models):
    document = json.loads(models.client().get("/openapi.json").get_data())
    assert not [path for path in document["paths"] if "version}" in path]
