"""A model that answers with what it was asked, and a server of it that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import launcher

ECHO_LOADER = """
import sys

class Echo:
    def predict(self, data, params=None):
        print("asked by", type(data).__name__, file=sys.stderr, flush=True)
        if isinstance(data, dict) and "answer" in data:
            return data["answer"]
        return data

def _load_pyfunc(path):
    return Echo()
"""


def make_echo(path: Path) -> Path:
    """A folder with a model of its own code, which needs nothing."""
    (path / "code").mkdir(parents=True)
    (path / "code" / "echo_model.py").write_text(ECHO_LOADER)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: echo_model\n    code: code\n"
    )
    (path / "requirements.txt").write_text("")
    return path


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_echo(tmp_path_factory.mktemp("models") / "echo")


@pytest.fixture(scope="module")
def server(echo: Path) -> Iterator[launcher.Server]:
    with launcher.serve(echo, port=0, env_manager="local") as running:
        yield running
