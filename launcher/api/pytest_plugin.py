"""Fixtures for pytest: a model's own repository tests it as it will be served.

Found by pytest through the entry point ``pytest11``. What a server takes is imported once a test
asks for one, so that it costs other tests nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from launcher.api.serving import Server

_LINES = 20
_SERVERS = pytest.StashKey["dict[str, Server]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which model ``served_model`` is, on the command line or in the configuration."""
    group = parser.getgroup("launcher", "models as they are served")
    group.addoption("--served-model", metavar="URI", help="The model that served_model serves.")
    parser.addini("served_model", "The model that served_model serves: a folder or a URI.")
    parser.addini(
        "served_model_options",
        "Options of `launcher serve` for it, one a line: env-manager=local",
        type="linelist",
    )


@pytest.fixture(scope="session")
def serve_model(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """``serve_model(URI, **options)``: a server of a model, as ``launcher.serve`` starts it.

    On a free port unless one is given, the same server for the same arguments, until the session
    ends.
    """
    servers = request.config.stash.setdefault(_SERVERS, {})
    with ExitStack() as stack:

        def start(model_uri: Any, **options: Any) -> Server:
            import launcher

            asked = repr((str(model_uri), sorted(options.items())))
            if asked not in servers:
                if "uds" not in options:
                    options.setdefault("port", 0)
                try:
                    server = launcher.serve(model_uri, **options)
                except launcher.LauncherError as error:
                    pytest.fail(f"{model_uri} is not served: {error}", pytrace=False)
                servers[asked] = stack.enter_context(server)
            return servers[asked]

        yield start


@pytest.fixture(scope="session")
def served_model(request: pytest.FixtureRequest, serve_model: Callable[..., Server]) -> Server:
    """The server of the model that ``--served-model`` or the ini option ``served_model`` names."""
    config = request.config
    model_uri = config.getoption("--served-model") or _configured(config)
    if not model_uri:
        pytest.fail(
            "Say which model served_model serves: --served-model URI, or served_model = URI in "
            "the configuration of pytest.",
            pytrace=False,
        )
    return serve_model(model_uri, **_options(config))


def _configured(config: pytest.Config) -> str:
    """The ini option's model; a folder counts from the file that names it."""
    named = str(config.getini("served_model") or "")
    beside = (config.inipath.parent if config.inipath else Path()) / named
    return str(beside) if named and beside.exists() else named


def _options(config: pytest.Config) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for line in config.getini("served_model_options"):
        name, equals, value = (part.strip() for part in line.partition("="))
        words = {"": True, "true": True, "false": False}
        given[name.replace("-", "_")] = words.get(value.lower(), value) if equals else True
    return given


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of the servers' logs where a test that has them fails."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed and "serve_model" in getattr(item, "fixturenames", ()):
        for server in item.config.stash.get(_SERVERS, {}).values():
            report.sections.append((f"Log of {server.name}", server.logs(_LINES)))
