"""The page in a real Chromium: what a person does there, with both themes and on a phone."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from launcher.engines.scoring_server import docs_viewer
from tests.scoring_server.page_models import EXAMPLE, chat_model, table_model, tensor_model
from tests.scoring_server.serving_process import serving

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here: apt-get install chromium"),
]
TOKEN = "sesame"
PHONE = {"width": 390, "height": 844}
# What the rules of WCAG 2.2, level AA, are called there.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(autouse=True)
def no_process_left_behind() -> None:
    """A browser starts and ends processes as it likes: the module's end is what counts."""


@pytest.fixture(scope="module", autouse=True)
def no_process_of_the_module_left_behind() -> Iterator[None]:
    this = psutil.Process()
    before = set(this.children(recursive=True))
    yield
    _, left = psutil.wait_procs(set(this.children(recursive=True)) - before, timeout=10)
    assert not left


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's own sandbox is not for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def table_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("table")
    options = {"docs_viewer": str(docs_viewer()), "root_path": "/shop/prices"}
    with serving(table_model(folder / "model", **options)) as (url, _):
        yield url


@pytest.fixture(scope="module")
def chat_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that wants a token."""
    folder = tmp_path_factory.mktemp("chat")
    (folder / "token").write_text(TOKEN)
    with serving(chat_model(folder / "model", token_file=str(folder / "token"))) as (url, _):
        yield url


class Visit:
    """A page that is open, and what the browser has to say about it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda line: self.problems.append(line.text) if line.type == "error" else None,
        )


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A new page; nothing in it may go wrong, and nothing may leave for another host.

    A test's parameter has options of the browser's.
    """
    options = getattr(request, "param", {})
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(20_000)
    visit = Visit(context.new_page())
    yield visit
    hosts = {
        urlsplit(url).hostname for url in visit.asked if not url.startswith(("data:", "blob:"))
    }
    context.close()
    assert hosts <= {"127.0.0.1"}
    # An answer that is no 2xx is an error for the console: the tests that want one take it out.
    assert not visit.problems


def open_table(visit: Visit, url: str, path: str = "/") -> Page:
    page = visit.page
    page.goto(f"{url}{path}")
    expect(page.get_by_role("heading", level=1)).to_have_text("prices")
    return page


def open_chat(visit: Visit, url: str, token: str = TOKEN) -> Page:
    page = visit.page
    page.goto(f"{url}/")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Continue").click()
    return page


def sent(page: Page) -> object:
    return json.loads(page.get_by_label("Request body as JSON").input_value())


def assert_accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": RULES})
    assert not found.response["violations"], found.generate_report()


def test_what_is_served_is_said(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    facts = page.get_by_role("list", name="What is served")
    for fact in ("version 7", "@champion", "1 worker", "since"):
        expect(facts).to_contain_text(fact)
    page.get_by_role("tab", name="Model").click()
    expect(page.get_by_role("table", name="Inputs").get_by_role("row")).to_have_count(8)
    expect(page.get_by_role("table", name="Parameters")).to_contain_text("factor")
    expect(page.get_by_role("tab", name="Chat")).to_have_count(0)


def test_form_and_json_keep_in_step_and_are_sent(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    assert sent(page) == EXAMPLE
    # A double that a browser would round.
    assert "9007199254740993" in page.get_by_label("Request body as JSON").input_value()
    page.get_by_label("size, row 1").fill("21.0")
    page.get_by_label("fresh, row 2").select_option("true")
    page.get_by_label("list, row 2").fill("[7]")
    page.get_by_label("factor").fill("10")
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label("word, row 3").fill("new")
    page.get_by_role("button", name="Remove row 2").click()
    changed = sent(page)
    assert isinstance(changed, dict)
    assert changed["params"] == {"factor": 10}
    # The optional column, which no row has any more but the copied one.
    assert [row[0] for row in changed["dataframe_split"]["data"]] == [21.0, 2.0]
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("region", name="Answer")
    rows = answer.get_by_role("table", name="Predictions").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("420")
    expect(answer).to_contain_text("200")
    stages = answer.get_by_role("list", name="Stages")
    for stage in ("queue", "parse", "predict", "encode"):
        expect(stages).to_contain_text(stage)
    # The other way round.
    values = [5, 6, "z", True, "2026-01-01T00:00:00", None, []]
    record = dict(zip(EXAMPLE["dataframe_split"]["columns"], values, strict=True))
    body = json.dumps({"dataframe_records": [record]})
    page.get_by_label("Request body as JSON").fill(body)
    expect(page.get_by_label("count, row 1")).to_have_value("6")
    expect(page.get_by_label("count, row 2")).to_have_count(0)
    page.get_by_role("button", name="Reset").click()
    assert sent(page) == EXAMPLE


def test_what_does_not_fit_is_said_and_not_sent(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    page.get_by_label("count, row 1").fill("many")
    expect(page.get_by_label("count, row 1")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Not a value of its type: count, row 1.")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.get_by_label("count, row 1").fill("3")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    json_text = page.get_by_label("Request body as JSON")
    json_text.fill("{")
    expect(page.get_by_text("This is no JSON")).to_be_visible()
    json_text.fill('{"instances": "what the form cannot show"}')
    expect(page.get_by_text("The form cannot show this")).to_be_visible()
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("word, row 1").fill("wrong")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("a wrong word")
    # The browser notes the 400.
    visit.problems = [line for line in visit.problems if "400" not in line]


def test_the_request_as_code_is_what_is_sent(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    code = page.locator("#code")
    expect(code).to_contain_text(f"curl {table_url}/shop/prices/invocations")
    page.get_by_role("tab", name="curl").press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    text = code.inner_text().replace("timeout=60", "timeout=60, auth=None")
    body = re.search(r"body = (.*?)\nanswer", text, re.DOTALL)
    assert body is not None
    assert eval(body[1]) == EXAMPLE
    compile(text, "snippet", "exec")
    page.get_by_role("tab", name="JavaScript").click()
    expect(code).to_contain_text("await fetch")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_comes_back_as_a_table_and_a_download(
    visit: Visit, table_url: str, tmp_path: Path, kind: str
) -> None:
    days = pd.to_datetime(["2026-01-01", "2026-01-02"])
    words = ['a "b", c', "d"]
    table = pd.DataFrame(
        {"size": [1.0, 2.0], "count": [1, 2], "word": words, "fresh": [True, False], "day": days}
    )
    file = tmp_path / f"rows.{kind}"
    if kind == "csv":
        table.to_csv(file, index=False)
    else:
        pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
        table.to_parquet(file)
    page = open_table(visit, table_url)
    page.get_by_role("tab", name="File").click()
    page.get_by_label("Choose a file").set_input_files(file)
    rows = page.get_by_role("table", name="Predictions for").get_by_role("row")
    expect(rows).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    got = pd.read_csv(download.value.path())
    assert got["double"].tolist() == [2.0, 4.0]
    # Beside what was sent, where the page can read that.
    assert kind != "csv" or got["word"].tolist() == words


def test_a_conversation_streams_with_a_token(visit: Visit, chat_url: str) -> None:
    page = open_chat(visit, chat_url, "wrong")
    expect(page.get_by_text("The server does not accept this token.")).to_be_visible()
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.get_by_role("button", name="Continue").click()
    log = page.get_by_role("log", name="Conversation")
    page.get_by_label("Message").fill("hello there")
    page.keyboard.press("Enter")
    expect(log.get_by_role("article").nth(1)).to_contain_text("1: hello there")
    expect(page.get_by_role("button", name="Send", exact=True).first).to_be_enabled()
    page.get_by_label("Message").fill("and now slowly")
    page.keyboard.press("Enter")
    # The words before it are there although the rest is not.
    expect(log.get_by_role("article").nth(3)).to_contain_text("3: and now")
    page.get_by_role("button", name="Stop").click()
    expect(log.get_by_role("article").nth(3)).to_contain_text("stopped")
    page.get_by_label("Message").fill("now fail")
    page.keyboard.press("Enter")
    expect(log.get_by_role("alert")).to_contain_text("lost for words")
    # Kept nowhere but in the page.
    kept = "[localStorage.length, sessionStorage.length, document.cookie]"
    assert page.evaluate(kept) == [0, 0, ""]
    expect(page.locator("#code")).not_to_contain_text(TOKEN)
    page.reload()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    visit.problems = [line for line in visit.problems if "401" not in line]


@pytest.mark.parametrize("path", ["/shop/prices", "/shop/prices/"])
def test_it_works_below_a_root_path(visit: Visit, table_url: str, path: str) -> None:
    page = open_table(visit, table_url, path)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("table", name="Predictions")).to_be_visible()
    expect(page.locator("#code")).to_contain_text(f"{table_url}/shop/prices/invocations")
    assert {urlsplit(url).path.startswith("/shop/prices") for url in visit.asked} == {True}
    page.get_by_role("link", name="API description").click()
    expect(page).to_have_url(f"{table_url}/shop/prices/docs")


@pytest.mark.parametrize("path", ["", "/shop/prices"])
def test_docs_show_the_description_and_send(visit: Visit, table_url: str, path: str) -> None:
    page = visit.page
    page.goto(f"{table_url}{path}/docs")
    page.get_by_text("/invocations", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"{table_url}{path}/invocations") as response:
        page.get_by_role("button", name="Execute").click()
    assert response.value.status == 200


def test_the_strip_shows_what_the_server_does(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    for _ in range(3):
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("list", name="Stages")).to_be_visible()
    live = page.get_by_role("region", name="Live figures")
    expect(live.locator("#live-mean")).to_contain_text("ms")
    expect(live.locator("#live-high")).to_contain_text("ms")
    expect(live.locator("#live-queue")).to_have_text("0")
    expect(live.locator("#live-workers")).to_have_text("1")
    expect(live.locator("#live-rate")).to_have_text(re.compile(r"^\d"))


def test_a_tensor_is_written_as_json(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(tensor_model(tmp_path_factory.mktemp("tensor") / "model")) as (url, _):
        page = visit.page
        page.goto(f"{url}/")
        field = page.get_by_label("input 0")
        expect(field).to_have_value("[[0, 0, 0]]")
        field.fill("[[1, 2, 3.5]]")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("table", name="Predictions")).to_contain_text("6.5")


@pytest.mark.parametrize(
    "visit",
    [
        {"color_scheme": "light"}, {"color_scheme": "dark"},
        {"color_scheme": "light", "viewport": PHONE}, {"color_scheme": "dark", "viewport": PHONE},
    ],
    indirect=True, ids=["light", "dark", "phone, light", "phone, dark"],
)  # fmt: skip
def test_each_view_is_accessible_and_fits_its_width(
    visit: Visit, table_url: str, tmp_path: Path
) -> None:
    page = open_table(visit, table_url)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("list", name="Stages")).to_be_visible()
    for tab in ("Predict", "File", "Model"):
        page.get_by_role("tab", name=tab).click()
        assert_accessible(page)
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, tab


@pytest.mark.parametrize(
    "visit", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True
)
def test_the_chat_and_the_question_for_a_token_are_accessible(visit: Visit, chat_url: str) -> None:
    visit.page.goto(f"{chat_url}/")
    expect(visit.page.get_by_label("Token", exact=True)).to_be_visible()
    assert_accessible(visit.page)
    page = open_chat(visit, chat_url)
    page.get_by_label("Message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article").nth(1)).to_contain_text("1: hello")
    assert_accessible(page)
    visit.problems = [line for line in visit.problems if "401" not in line]


def test_all_can_be_done_from_the_keyboard(visit: Visit, table_url: str) -> None:
    page = open_table(visit, table_url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the request")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Predict")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="File")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
