"""From a model to the build context of its image."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher.commands.environment import EnvironmentOptions, build_errors, environment_spec
from launcher.commands.model_opening import ModelRequest, identity_of
from launcher.engines.engine import ServerOptions
from launcher.engines.scoring_server import ScoringServer
from launcher.engines.server_config import server_config
from launcher.errors import ModelError, UsageError
from launcher.images.context import BuildContext
from launcher.images.credentials import netrc_for
from launcher.images.dockerfile import (
    CONFIG,
    ENVIRONMENT_FILES,
    INSTALLER,
    MLFLOW_HOME,
    MODEL,
    MODEL_TREE,
    PORT,
    SERVER_FILES,
    Recipe,
    local_dockerfile,
    model_dockerfile,
)
from launcher.images.locking import Lock, installer, lock

if TYPE_CHECKING:
    from envs import EnvSpec
    from launcher.artifacts import ModelSource
    from launcher.console import Console
    from launcher.model.mlmodel import Model

# Those that the scoring server runs on; of each there is an image python:X.Y-slim.
PYTHONS = tuple(f"3.{minor}" for minor in range(7, 15))
# Flavors whose models run in a Java virtual machine.
_JAVA_FLAVORS = {"spark", "h2o", "mleap", "johnsnowlabs"}
_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
SBOM = "/opt/launcher/sbom.cdx.json"


class ImageOptions(NamedTuple):
    """How an image is to be made.

    :param base_image: None for ``python:X.Y-slim`` of the model's Python.
    :param install_java: None: where the model's flavor needs it.
    :param mlflow_home: a checkout of MLflow to install in place of a release.
    :param platform: "linux/amd64" or "linux/arm64", None for this machine's processor.
    :param sbom: whether the image has a bill of materials.
    """

    environment: EnvironmentOptions = EnvironmentOptions()
    base_image: str | None = None
    install_java: bool | None = None
    mlflow_home: Path | None = None
    platform: str | None = None
    sbom: bool = True

    @property
    def machine(self) -> str:
        """The processor, as uname has it.

        :raises UsageError: it is none that can be resolved for.
        """
        if self.platform is None:
            return {"arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
        if self.platform not in _MACHINES:
            raise UsageError(
                f"An image cannot be made for {self.platform}.",
                f"Give one of {', '.join(_MACHINES)}, each in a build of its own.",
            )
        return _MACHINES[self.platform]


def model_context(request: ModelRequest, options: ImageOptions, console: Console) -> BuildContext:
    """The context for an image of one model.

    :raises LauncherError: with the exit code that belongs to what went wrong.
    """
    engine = ScoringServer()
    source = request.resolve(console)
    model = request.read(source, engine, ServerOptions(), console)
    if not model.pyfunc:
        raise UsageError(
            "The model is a crate, and no image of a model has R in it.",
            "Make an image without -m from one that has R and Python, with --base-image.",
        )
    image = _ModelImage(source, model, options)
    if options.environment.env_manager == "local":
        return image.in_base_image()
    if options.environment.env_manager != "virtualenv":
        raise UsageError(
            f"An image of a model has no environment of {options.environment.env_manager}.",
            "Use --env-manager virtualenv, which takes conda packages from the Python index, or an "
            "image without -m.",
        )
    if options.sbom:
        from launcher.images.sbom import require_library

        require_library()
    for note in model.requirements.notes:
        console.warn(note)
    environment = options.environment
    if options.mlflow_home is not None:  # for what it depends on
        environment = environment._replace(install_mlflow=True)
    spec = replace(environment_spec(model, environment, engine), copied_packages=())
    return image.with_lock(_locked(spec, options, console), console)


def _locked(spec: EnvSpec, options: ImageOptions, console: Console) -> Lock:
    _check_python(spec.python, options.base_image)
    offline = options.environment.build.offline
    with build_errors():
        return lock(spec, options.machine, console.under_way, offline=offline)


def _check_python(wanted: str | None, base_image: str | None) -> None:
    """See, before anything is resolved, that there is an image of a model's Python.

    :raises ModelError: there is none.
    """
    minor = ".".join((wanted or "").split(".")[:2])
    if base_image is None and minor and minor[0].isdigit() and minor not in PYTHONS:
        raise ModelError(
            f"The model wants Python {wanted}, of which there is no image that it can be served"
            f" in (there are: {', '.join(PYTHONS)}).",
            "Give an image that has it with --base-image, or log the model again.",
        )


class _ModelImage:
    """What an image of a model consists of, whatever its environment is made of."""

    def __init__(self, source: ModelSource, model: Model, options: ImageOptions) -> None:
        self._source = source
        self._model = model
        self._options = options
        self._name = source.name or model.name or model.path.name
        java = options.install_java
        self._java = bool(_JAVA_FLAVORS & set(model.flavors)) if java is None else java

    def with_lock(self, lock: Lock, console: Console) -> BuildContext:
        """Its environment is installed from a lock."""
        options = self._options
        base = options.base_image or f"python:{lock.python}-slim"
        build = base
        notes = []
        if lock.built and options.base_image is None:
            # The one with compilers; nothing of it but the environment gets into the image.
            build = f"python:{lock.python}"
        elif lock.built:
            notes.append(
                f"{', '.join(lock.built)}: no wheels, so {base} builds them; if it has no"
                " compiler, give an image that has one (--build-arg BUILD_IMAGE=...)"
            )
        with build_errors():
            offline = options.environment.build.offline
            uv = installer(lock.indexes, console.under_way, offline=offline)
        texts = {f"{ENVIRONMENT_FILES}/{name}": text for name, text in lock.texts.items()}
        texts[f"{ENVIRONMENT_FILES}/{INSTALLER}"] = uv
        copies = {f"{ENVIRONMENT_FILES}/{name}": path for name, path in lock.files.items()}
        if options.mlflow_home is not None:
            copies[f"{ENVIRONMENT_FILES}/{MLFLOW_HOME}"] = options.mlflow_home
        if options.sbom:
            from launcher.images.sbom import sbom

            text = sbom(self._model, self._name, self._source.version, lock)
            texts[MODEL_TREE + SBOM] = text
        recipe = Recipe(
            self._title(),
            base,
            build,
            tuple(lock.texts),
            lock.dates if lock.built else (),
            lock.indexes,
            self._java,
            options.mlflow_home is not None,
            labels=self._labels(lock),
        )
        described = {
            "env_manager": options.environment.env_manager,
            "as_of": lock.as_of,
            "key": lock.sha256[:20],
            "python": lock.python,
        }
        urls = [each.url or "" for package in lock.packages for each in package.wheels or ()]
        return BuildContext(
            model_dockerfile(recipe),
            {**texts, **self._config(described)},
            {**copies, **self._files()},
            base,
            netrc_for(lock.indexes, urls),
            tuple(notes),
        )

    def in_base_image(self) -> BuildContext:
        """Its environment is the Python of the base image.

        :raises UsageError: none was given.
        """
        base = self._options.base_image
        if base is None:
            raise UsageError(
                "--env-manager local is the Python of the base image, with the packages in it.",
                "Give an image that has all that the model needs with --base-image.",
            )
        described = {"env_manager": "local", "as_of": None, "key": None, "python": None}
        recipe = Recipe(self._title(), base, base, java=self._java, labels=self._labels(None))
        return BuildContext(local_dockerfile(recipe), self._config(described), self._files(), base)

    def _title(self) -> str:
        return f"Serves the model {self._name}. By mlmodel-launcher {launcher_version()}."

    def _config(self, environment: dict[str, Any]) -> dict[str, str]:
        """What the scoring server is started with, and changes by its variables."""
        import json

        content = server_config(
            self._model._replace(path=Path(MODEL)),
            uri=self._source.uri,
            identity=identity_of(self._source, self._model, None),
            environment=environment,
            server={"host": "0.0.0.0", "port": PORT},
            settings_from_environment=True,
        )
        return {MODEL_TREE + CONFIG: json.dumps(content, indent=1, default=str) + "\n"}

    def _files(self) -> dict[str, Path]:
        (package,) = ScoringServer.packages
        return {
            f"{SERVER_FILES}/{package.name}": package,
            MODEL_TREE + MODEL: self._model.path,
        }

    def _labels(self, lock: Lock | None) -> dict[str, str]:
        """OCI's names where there is one, see opencontainers/image-spec, annotations.md."""
        model = self._model
        labels = {
            "org.opencontainers.image.title": self._name,
            "org.opencontainers.image.version": self._source.version,
            "org.opencontainers.image.created": model.created and model.created.isoformat(),
            "mlmodel.uri": self._source.uri,
            "mlmodel.run-id": model.run_id,
            "mlmodel.model-id": model.model_id or model.uuid,
            "mlmodel.mlflow-version": model.mlflow_version,
            "mlmodel.lock-sha256": lock and lock.sha256,
            "mlmodel.resolved-as-of": lock and lock.as_of,
            "mlmodel.launcher-version": launcher_version(),
        }
        return {name: value for name, value in labels.items() if value}


def launcher_version() -> str:
    """This launcher's own version."""
    from importlib.metadata import version

    return version("mlmodel-launcher")
