"""The page and what belongs to it over plain HTTP: headers, tokens, what is told of the model."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hatchling.builders.wheel import WheelBuilder

from launcher.engines.scoring_server import docs_viewer
from scoring_server.config import ModelConfig, ServerConfig
from scoring_server.pages.description import describe_for_page
from scoring_server.protocols.registry import route_groups
from scoring_server.routes import PAGES, Request
from tests.scoring_server.serving_process import BODY, ROOT, serving, write_config

STATIC = ROOT / "scoring_server" / "pages" / "static"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BEARER = {"Authorization": "Bearer sesame"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a token and a viewer."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "token").write_text("sesame")
    options = {"token_file": str(folder / "token"), "docs_viewer": str(docs_viewer())}
    with serving(write_config(folder / "model", **options)) as (url, _):
        # The pages' process is to be there before the first test looks for what it leaves behind.
        requests.get(f"{url}/", headers=BROWSER, timeout=60)
        yield url


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={"Accept": "*/*", **headers}, timeout=60)


def test_browsers_get_a_page_and_programs_what_they_always_got(url: str) -> None:
    page = get(f"{url}/", **BROWSER)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Vary"] == "Accept"
    other = get(f"{url}/")
    assert other.status_code == 404
    assert other.json() == {"error_code": "ENDPOINT_NOT_FOUND", "message": "GET /: Not Found."}
    assert requests.post(f"{url}/", headers=BEARER, timeout=60).status_code == 405


@pytest.mark.parametrize("path", ["/", "/docs", "/page/files/app.js", "/docs/files/swagger-ui.css"])
def test_what_a_browser_may_do_and_keep(url: str, path: str) -> None:
    answer = get(url + path, **BROWSER)
    assert answer.status_code == 200
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    tag = answer.headers["ETag"]
    again = get(url + path, **BROWSER, **{"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert get(url + path, **BROWSER, **{"If-None-Match": '"other"'}).status_code == 200


def test_nothing_outside_of_the_folders_can_be_had(url: str) -> None:
    for path in (
        "/page/files/nothing.js", "/page/files/..", "/page/files/%2e%2e%2fpage_routes.py",
        "/page/files/..%2f__init__.py", "/docs/files/index.html", "/docs/files/..%2fflask_swagger_ui.py",
    ):  # fmt: skip
        with requests.Session() as session:
            request = requests.Request("GET", url + path).prepare()
            request.url = url + path
            assert session.send(request, timeout=60).status_code in (401, 404), path


def test_what_is_told_of_the_model_needs_the_token(url: str) -> None:
    assert get(f"{url}/page/model").status_code == 401
    told = get(f"{url}/page/model", **BEARER).json()
    assert told["model"]["name"] == "model"
    assert [each["name"] for each in told["model"]["signature"]["inputs"]] == list("abcd")
    assert told["server"]["workers"] == 1
    assert "/invocations" in told["server"]["prediction_paths"]
    assert "/ping" not in told["server"]["prediction_paths"]


def test_who_asks_for_the_stages_gets_them(url: str) -> None:
    headers = {**BEARER, "Content-Type": "application/json"}
    plain = requests.post(f"{url}/invocations", data=BODY, headers=headers, timeout=60)
    assert "Server-Timing" not in plain.headers
    headers["Want-Server-Timing"] = "1"
    answer = requests.post(f"{url}/invocations", data=BODY, headers=headers, timeout=60)
    stages = re.findall(r"(\w+);dur=\d+\.\d{3}", answer.headers["Server-Timing"])
    assert stages == ["queue", "parse", "predict", "encode"]


def test_pages_name_nothing_of_another_host_and_nothing_inline() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        hosts = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not hosts, path.name
        assert not re.search(r"(src|href)=\"/|<style|<script>| style=\"| on\w+=\"", text), path.name
        assert "innerHTML" not in text, path.name
        assert len(text.splitlines()) <= 400, path.name


@pytest.mark.parametrize("folder", ["page", "docs"])
def test_without_the_page_nothing_of_it_is_there(tmp_path: Path, folder: str) -> None:
    groups = route_groups(ServerConfig.read(str(write_config(tmp_path / "model", page=False))))
    paths = {route.path for group in groups for route in group.routes}
    assert not [path for path in paths if path == "/" or path.startswith(f"/{folder}")]


def ask(config: ServerConfig, path: str) -> Any:
    """The answer of a page's route, without a server."""
    for group in route_groups(config):
        for route in group.routes:
            if route.path == path:
                assert route.answered_by == PAGES
                request = Request(group, route, "GET", path, {}, "", {"accept": "text/html"}, b"")
                assert route.handle is not None
                return route.handle(request, None)  # type: ignore[arg-type]
    raise AssertionError(path)


@pytest.mark.parametrize("viewer", [None, "/nowhere/of/this/machine"])
def test_without_a_viewer_docs_says_what_to_do(tmp_path: Path, viewer: str | None) -> None:
    config = ServerConfig.read(str(write_config(tmp_path / "model", docs_viewer=viewer)))
    answer = ask(config, "/docs")
    assert answer.status == 200
    assert b"docs_viewer" in answer.body
    assert b"openapi.json" in answer.body


def test_the_launcher_has_a_viewer() -> None:
    viewer = docs_viewer()
    assert viewer is not None
    assert {"swagger-ui.css", "swagger-ui-bundle.js"} <= {path.name for path in viewer.iterdir()}


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("llm/v1/chat", "/v1/chat/completions"),
        ("agent/v1/responses", "/v1/responses"),
        ("llm/v1/embeddings", None),
        (None, None),
    ],
)
def test_models_that_chat_are_said_where_they_do(task: str | None, path: str | None) -> None:
    flavors = {"python_function": {"loader_module": "x"}}
    model = ModelConfig(path="/m", flavors=flavors, metadata={"task": task})
    told = describe_for_page(ServerConfig(model=model), [], 0.0)
    assert told["model"]["chat"] == path


def test_below_a_root_path_addresses_are_relative_to_that(tmp_path: Path) -> None:
    config = ServerConfig.read(str(write_config(tmp_path / "model", root_path="/a/b/")))
    assert b'<head>\n<base href="/a/b/">\n' in ask(config, "/").body
    plain = ask(config._replace(server=config.server._replace(root_path="")), "/")
    assert b"<base" not in plain.body


def test_the_wheel_has_the_pages_files(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"scoring_server/pages/static/{path.name}" for path in STATIC.iterdir()} <= names
