"""Fixtures for the scoring server's own tests, which run on CPython 3.7 to 3.14.

They need nothing but pytest, numpy, pandas and Flask: the models follow MLflow's python_function
conventions (a `loader_module` in the model's `code` folder) but are loaded without MLflow.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scoring_server.config import ServerConfig  # noqa: E402
from scoring_server.model.loading import load_model  # noqa: E402
from scoring_server.protocols.mlflow import MlflowProtocol  # noqa: E402
from scoring_server.routes import Request  # noqa: E402
from scoring_server.scoring.application import Application  # noqa: E402
from scoring_server.service import Batching  # noqa: E402
from scoring_server.wsgi import create_app  # noqa: E402

# Answers with the columns and rows of a table, else with the input itself.
ECHO = """
    class Model:
        def predict(self, model_input, params=None):
            if hasattr(model_input, "columns"):
                return {
                    "columns": [str(name) for name in model_input.columns],
                    "dtypes": [str(dtype) for dtype in model_input.dtypes],
                    "rows": model_input.values.tolist(),
                    "params": params,
                }
            return {"input": model_input, "params": params}
"""


class Models:
    """Makes model folders and what serves them."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def config(self, code=ECHO, inputs=None, params=None, server=None, flavor=None, **model):
        """The configuration for a new model whose loader runs `code` (it defines `Model`)."""
        self.count += 1
        path = self.folder / f"model{self.count}"
        (path / "code").mkdir(parents=True)
        # A module of its own each time: loaded modules stay in sys.modules.
        name = f"loader_{self.folder.name.replace('-', '_')}_{self.count}"
        text = textwrap.dedent(code) + "\n\ndef _load_pyfunc(path, *config):\n    return Model()\n"
        if "def _load_pyfunc" in code:
            text = textwrap.dedent(code)
        (path / "code" / f"{name}.py").write_text(text)
        signature = {"inputs": inputs, "params": params} if inputs or params else None
        document = {
            "path": str(path),
            "mlflow_version": "2.10.2",
            "flavors": {
                "python_function": dict({"loader_module": name, "code": "code"}, **(flavor or {})),
                "sklearn": {},
            },
            "signature": signature,
        }
        document.update(model)
        return ServerConfig.from_dict({"model": document, "server": server or {}})

    def application(self, *args, **kwargs):
        """An `Application` for a new model."""
        config = self.config(*args, **kwargs)
        return Application(config, load_model(config), Batching.of(config.server))

    def client(self, *args, **kwargs):
        """An HTTP client of the Flask application for a new model."""
        return create_app(self.config(*args, **kwargs)).test_client()

    @staticmethod
    def together(application, requests):
        """The answers of an application to requests that came together, in their order."""
        parts = application.answer_together(requests, lambda places: None)
        answers = dict(pair for part in parts for pair in part)
        assert sorted(answers) == list(range(len(requests)))
        return [answers[place] for place in sorted(answers)]

    @staticmethod
    def invocation(body, content_type="application/json", **headers):
        """A request for predictions, by MLflow's protocol."""
        protocol = MlflowProtocol(ServerConfig())
        route = protocol.routes[0]
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            headers["content-type"] = content_type
        return Request(protocol, route, "POST", route.path, {}, "", headers, body)


@pytest.fixture
def models(tmp_path):
    return Models(tmp_path)


@pytest.fixture(scope="module")
def shared_models(tmp_path_factory):
    """The same for what all tests of a module may share."""
    return Models(tmp_path_factory.mktemp("shared"))


@pytest.fixture(autouse=True)
def restored_path():
    """Models put their code on sys.path."""
    before = list(sys.path)
    yield
    sys.path[:] = before
