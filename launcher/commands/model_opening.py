"""URI -> Model, as every command does it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envs.disk.home import launcher_home
from launcher.artifacts import ModelSource, release_model, resolve_model
from launcher.artifacts.uris import parse_models_uri, redact, scheme_of
from launcher.engines.engine import Engine, Identity, ServerOptions
from launcher.errors import ModelError
from launcher.model.mlmodel import Model, read_model

if TYPE_CHECKING:
    from launcher.console import Console

# Of who opens a model for no server.
_DEFAULTS = ServerOptions()


class ModelRequest(NamedTuple):
    """Which model is wanted; ``max_size`` in bytes after unpacking, None for no limit.

    With ``offline`` only what has been fetched before is found. ``flavor`` is the one that it is to
    be served as, None for the model's first.
    """

    uri: str
    max_size: int | None = None
    offline: bool = False
    flavor: str | None = None

    @property
    def shown(self) -> str:
        """The URI without passwords."""
        return redact(self.uri)

    def resolve(self, console: Console) -> ModelSource:
        """Fetch the model, if it is not on this machine's disk.

        :raises launcher.artifacts.ModelURIError: the URI leads to no model.
        """
        return resolve_model(
            self.uri, report=console.step, offline=self.offline, max_model_size=self.max_size
        )

    def revision(self, console: Console) -> str:
        """What is behind the URI now: differs where the model has changed. May fetch it.

        :raises launcher.artifacts.ModelURIError: the URI leads to no model.
        """
        source = self.resolve(console)
        release_model(source)  # who only asks uses nothing
        return source.revision

    def open(self, engine: Engine, console: Console, options: ServerOptions = _DEFAULTS) -> Model:
        """Fetch and read the model, as ``resolve`` and ``read`` do.

        :raises launcher.artifacts.ModelURIError: the URI leads to no model.
        :raises ModelError: what it leads to cannot be read, or not be served.
        """
        return self.read(self.resolve(console), engine, options, console)

    def read(
        self, source: ModelSource, engine: Engine, options: ServerOptions, console: Console
    ) -> Model:
        """Read what was found, see that ``engine`` can serve it so, and say what it is.

        :raises ModelError: it cannot be read, or not be served.
        """
        model = read_model(source.path, self.flavor)
        engine.check(model, options)
        console.step(describe_model(model, identity_of(source, model, None)))
        return model


def check_code_execution(variables: Mapping[str, str] = MappingProxyType({})) -> None:
    """See that MLflow's switch allows to load models, before anything is fetched or built.

    The process that loads a model looks, too; other engines than ours may not.

    :param variables: what that process gets beside this one's.
    :raises ModelError: it does not.
    """
    environ = {**os.environ, **variables}
    if "MLFLOW_ALLOW_MODEL_CODE_EXECUTION" not in environ:
        return
    from scoring_server.model.code_permission import CodeRefused, check_code_allowed

    try:
        check_code_allowed(environ)
    except CodeRefused as error:
        raise ModelError(str(error), error.hint) from None


def identity_of(source: ModelSource, model: Model, given: str | None) -> Identity:
    """What the model is called: as in the registry, else as ``given``, else as its folder.

    The other names are accepted as well, and NAME@ALIAS where it was asked for so. Of what was
    fetched, the folder is the last one of its URI.
    """
    folder = source.path.name
    if is_cached(source.path):
        path = source.uri.partition("?")[0].partition("#")[0]
        last = path.rstrip("/").rpartition("/")[2]
        folder = last.removesuffix(".zip").removesuffix(".tar.gz").removesuffix(".tgz") or folder
    aliases: tuple[str, ...] = ()
    if source.name is not None and scheme_of(source.uri) == "models":
        asked = parse_models_uri(source.uri)
        aliases = tuple(each for each in (asked.alias, asked.stage) if each)
    aliased = (f"{source.name}@{alias}" for alias in aliases)
    names = (source.name, given, folder, model.name, *aliased)
    return Identity(tuple(dict.fromkeys(each for each in names if each)), source.version, aliases)


def is_cached(path: Path) -> bool:
    """Whether a model's folder is that of a download."""
    return launcher_home() / "models" in path.parents


def describe_model(model: Model, identity: Identity) -> str:
    """One line on what the model is: 'model iris: sklearn, MLflow 3.17.2, Python 3.11.7'."""
    others = [name for name in model.flavors if name != "python_function"]
    flavors = others if model.flavor == "python_function" else [model.flavor]
    parts = [", ".join(flavors) or "python_function"]
    if model.mlflow_version:
        parts.append(f"MLflow {model.mlflow_version}")
    if model.requirements.python:
        parts.append(f"Python {model.requirements.python}")
    if model.created:
        parts.append(f"logged {model.created:%Y-%m-%d}")
    return f"model {identity.title_of(model)}: {', '.join(parts)}"
