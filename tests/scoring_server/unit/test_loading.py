"""Loading by MLflow's python_function conventions, and what is said when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scoring_server.config import ConfigError, ServerConfig
from scoring_server.errors import ModelLoadError
from scoring_server.model.loading import load_model


def failure(config):
    with pytest.raises(ModelLoadError) as caught:
        load_model(config)
    assert "\n" not in caught.value.message
    return caught.value


def test_data_path_and_model_config(models):
    code = """
        class Model:
            def __init__(self, *arguments):
                self.arguments = arguments
            def predict(self, model_input):
                return self.arguments

        def _load_pyfunc(*arguments):
            return Model(*arguments)
    """
    plain = models.config(code)
    assert load_model(plain).predict(None) == (plain.model.path,)
    with_data = models.config(code, flavor={"data": "weights", "config": {"k": 1}})
    expected = (str(Path(with_data.model.path, "weights")), {"k": 1})
    assert load_model(with_data).predict(None) == expected


def test_model_config_can_be_overridden(models, monkeypatch):
    code = """
        class Model:
            def predict(self, model_input):
                return self.config

        def _load_pyfunc(path, config=None):
            model = Model()
            model.config = config
            return model
    """
    monkeypatch.setenv("SERVING_MODEL_CONFIG", '{"k": 2, "unknown": 3}')
    config = models.config(code, flavor={"config": {"k": 1, "other": 0}})
    assert load_model(config).predict(None) == {"k": 2, "other": 0}
    assert load_model(models.config(code)).predict(None) is None
    monkeypatch.setenv("SERVING_MODEL_CONFIG", "not json")
    assert "SERVING_MODEL_CONFIG" in failure(models.config(code)).message


@pytest.mark.parametrize(
    ("parameters", "takes"),
    [
        ("self, model_input", False), ("self, model_input, params=None", True),
        ("self, model_input, **params", False), ("self, model_input, *, params", True),
        ("self, context, **kwargs", False),
    ],
)  # fmt: skip
def test_params_are_passed_where_they_are_taken(models, parameters, takes):
    code = f"class Model:\n    def predict({parameters}):\n        return True\n"
    model = load_model(models.config(code))
    assert model.supports_params is takes
    assert model.predict(1, {"p": 1}) is True


def test_predict_fn_and_streams(models):
    code = """
        class Model:
            def predict_proba(self, model_input):
                return "proba"
            def flow(self, model_input):
                yield 1
    """
    flavor = {"predict_fn": "predict_proba", "streamable": True, "predict_stream_fn": "flow"}
    model = load_model(models.config(code, flavor=flavor))
    assert model.predict(None) == "proba"
    assert list(model.predict_stream(None, {"dropped": 1})) == [1]
    assert (
        load_model(models.config(code, flavor={"predict_fn": "predict_proba"})).predict_stream
        is None
    )
    assert "'predict'" in failure(models.config(code)).message


def test_missing_package_is_named_with_the_line_that_installs_it(models):
    config = models.config("import sklearnish.linear_model\n")
    error = failure(config)
    assert error.stage == "import"
    assert "sklearnish" in error.message
    assert error.hint.startswith("Install it: " + sys.executable)
    assert "pip install 'sklearnish'" in error.hint
    Path(config.model.path, "requirements.txt").write_text("numpy\nSklearnish==1.2.3  # pinned\n")
    assert "'Sklearnish==1.2.3'" in failure(config).hint


def test_modules_with_another_name_than_their_distribution(models):
    error = failure(models.config("raise ModuleNotFoundError('x', name='cv2.dnn')\n"))
    assert "opencv-python" in error.message


@pytest.mark.parametrize(
    ("code", "words", "stage"),
    [
        ("def _load_pyfunc(path):\n    raise ValueError('bad\\nweights')\n", "bad weights", "load"),
        ("raise ImportError('cannot import name x')\n", "cannot import name x", "import"),
        ("def _load_pyfunc(path):\n    raise SystemExit(3)\n", "SystemExit", "load"),
        ("x = \n", "SyntaxError", "load"),
        ("def _load_pyfunc(path):\n    return object()\n", "'predict'", "load"),
    ],
)
def test_models_that_do_not_load(models, code, words, stage):
    error = failure(models.config(code + "\n# def _load_pyfunc"))
    assert words in error.message
    assert error.stage == stage


def test_model_without_python_function_is_refused_by_name(models):
    config = models.config(flavors={"keras": {}, "onnx": {}})
    error = failure(config)
    assert error.stage == "config"
    assert "keras, onnx" in error.message


def test_config_file(tmp_path):
    path = tmp_path / "config.json"
    document = {
        "config_version": 1,
        "model": {"path": "/m", "name": "n", "signature": {"inputs": [], "later": 1}, "later": 1},
        "server": {"timeout": None, "later": 1},
        "later": 1,
    }
    path.write_text(json.dumps(document))
    config = ServerConfig.read(str(path))
    assert (config.model.name, config.server.timeout, config.server.workers) == ("n", None, 1)
    for text in ("", "[]", "{}", '{"model": {}}', '{"config_version": 2, "model": {"path": "/m"}}'):
        path.write_text(text)
        with pytest.raises(ConfigError):
            ServerConfig.read(str(path))
    with pytest.raises(ConfigError):
        ServerConfig.read(str(tmp_path / "absent"))


def test_mlflow_and_heavy_packages_are_not_imported(models):
    config = models.config(inputs=[{"name": "a", "type": "double"}])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from scoring_server.scoring.application import Application\n"
        "from scoring_server.files.job import run_batch\n"
        "from scoring_server.config import ServerConfig\n"
        "from scoring_server.model.loading import load_model\n"
        "loaded = set(sys.modules)\n"
        "heavy = {'mlflow', 'pyarrow.parquet', 'scipy', 'yaml', 'requests', 'launcher', 'envs'}\n"
        "assert not heavy & loaded, heavy & loaded\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    subprocess.run([sys.executable, "-c", code, root], check=True, cwd=config.model.path)


@pytest.mark.parametrize("has_library", [True, False])
def test_the_library_is_imported_before_the_model_is_read(models, has_library):
    """What is called in between takes the library's objects out of the collection before a fork."""
    script = """
        import sys
        sys.path[:0] = [{code!r}, {root!r}]
        if not {has_library}:
            sys.modules["sklearn"] = None  # nor the real one, where that is installed
        from scoring_server.config import ServerConfig
        from scoring_server.model.loading import load_model
        noted = lambda: print("sklearn.base" in sys.modules, "sklearn.rest" in sys.modules)
        config = ServerConfig.from_dict({document!r})
        print(load_model(config, on_imported=noted).predict("x"))
    """
    config = models.config(flavor={"loader_module": "mlflow.sklearn", "model_path": "model.pkl"})
    code = Path(config.model.path, "code")
    package = code / ("sklearn" if has_library else "other")
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "base.py").touch()
    (package / "rest.py").write_text("class Model:\n    predict = staticmethod(str.upper)\n")
    # The protocol 0 pickle of an instance: what it is of, no arguments, made by calling that.
    Path(config.model.path, "model.pkl").write_bytes(f"c{package.name}.rest\nModel\n(tR.".encode())
    document = {"model": dict(config.model._asdict())}
    text = textwrap.dedent(script).format(
        code=str(code), root=str(Path(__file__).parents[3]), document=document,
        has_library=has_library,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.stdout.split("\n") == [f"{has_library} False", "X", ""], done.stderr
