"""The crates, made once; loaded in this process, or served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.registry import route_groups
from scoring_server.route_table import RouteTable
from scoring_server.routes import Answer, Request
from scoring_server.scoring.application import Application
from tests.scoring_server.crates.crates import make_crates, write_config


@pytest.fixture(scope="package")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a model for each crate."""
    return make_crates(tmp_path_factory.mktemp("crates"))


Post = Callable[..., Answer]


@pytest.fixture
def loaded(crates: Path, tmp_path: Path) -> Iterator[Callable[..., Post]]:
    """Load a crate in this process; what posts to its routes."""
    applications = []

    def load(name: str, **options: Any) -> Post:
        config = ServerConfig.read(
            str(write_config(crates / name, tmp_path / f"{name}.json", **options))
        )
        application = Application(config, load_model(config))
        applications.append(application)
        table = RouteTable(route_groups(config))

        def post(
            body: bytes, path: str = "/invocations", content_type: str = "application/json"
        ) -> Answer:
            match = table.find("POST", path)
            assert match.route is not None
            headers = {"content-type": content_type} if content_type else {}
            request = Request(match.group, match.route, "POST", path, {}, "", headers, body)
            return application.answer(request)

        return post

    yield load
    for application in applications:
        application.close()
