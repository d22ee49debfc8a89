"""Dockerfiles as text: stages in the order in which what is in them changes.

https://docs.docker.com/reference/dockerfile/. What is used of it, buildah and podman have, too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from envs.building.log import bare
from envs.pip.indexes import IndexSettings

# Where things are in an image. SageMaker and MLflow have the model there.
MODEL = "/opt/ml/model"
ENVIRONMENT = "/opt/env"
SERVER = "/opt/launcher"
CONFIG = "/opt/launcher/config.json"
CACHE = "/var/cache/launcher"

# Where they are in the context. MODEL_TREE is laid over the image's root, as one layer.
ENVIRONMENT_FILES, SERVER_FILES, MODEL_TREE = "environment", "server", "model"
INSTALLER, LAUNCHER_LOCK, MLFLOW_HOME = "uv.txt", "launcher.txt", "mlflow"

USER = 10001
PORT = 8080
SECRET = "netrc"  # the id of the build secret with the credentials of indexes

_JAVA = (
    "# hadolint ignore=DL3008",
    "RUN apt-get update \\",
    " && apt-get install -y --no-install-recommends default-jre-headless \\",
    " && rm -rf /var/lib/apt/lists/*",
)
_WITH_SECRET = (
    f"RUN --mount=type=secret,id={SECRET},target=/run/secrets/{SECRET}"
    f" export NETRC=/run/secrets/{SECRET} \\"
)


@dataclass(frozen=True)
class Recipe:
    """What decides a Dockerfile.

    :param title: what it is for, one line.
    :param base_image: what the image is made from.
    :param build_image: what its environment is made in; its Python is at the same place.
    :param locks: names of the lock's files, in the order of installation.
    :param dates: uv's options for what is built from source.
    :param indexes: where packages come from; credentials are left out here.
    :param java: whether to install a Java runtime.
    :param mlflow_home: whether the context has a checkout of MLflow to install.
    :param variables: of the container, besides those that every one has.
    :param labels: by name.
    """

    title: str
    base_image: str
    build_image: str
    locks: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    indexes: IndexSettings = field(default_factory=IndexSettings)
    java: bool = False
    mlflow_home: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def model_dockerfile(recipe: Recipe) -> str:
    """An image of one model, its environment from a lock, and the scoring server.

    Its process 1 is the scoring server's own (``scoring_server.container``): what a launcher adds
    in a container the platform does (it starts a container again, and probes it), and the server
    runs on every Python that a model may have.
    """
    python = f"{ENVIRONMENT}/bin/python"
    lines = [
        *_head(recipe),
        *_installing_stage(recipe),
        f"RUN uv/bin/uv venv --quiet --no-python-downloads --python python3 {ENVIRONMENT}",
        *_WITH_SECRET.splitlines(),
        *_installation(recipe, python),
        *_server_stage_lines(python),
        "",
        "FROM ${BASE_IMAGE}",
        *(_JAVA if recipe.java else ()),
        f"COPY --from=build {ENVIRONMENT} {ENVIRONMENT}",
        *_serving_lines(recipe, python),
    ]
    return "\n".join(lines) + "\n"


def local_dockerfile(recipe: Recipe) -> str:
    """An image of one model in the Python of its base image, which has all that it needs."""
    lines = [
        *_head(recipe),
        "FROM ${BASE_IMAGE} AS build",
        "WORKDIR /build",
        *_server_stage_lines("python3"),
        "# The scoring server needs these.",
        'RUN python3 -c "import flask, numpy, pandas"',
        "",
        "FROM ${BASE_IMAGE}",
        *(_JAVA if recipe.java else ()),
        *_serving_lines(recipe, "python3"),
    ]
    return "\n".join(lines) + "\n"


def launcher_dockerfile(recipe: Recipe) -> str:
    """An image of the launcher alone, which finds its model and makes its environment at start."""
    python = f"{ENVIRONMENT}/bin/python"
    lines = [
        *_head(recipe),
        *_installing_stage(recipe),
        f"RUN uv/bin/uv venv --quiet --no-python-downloads --python python3 {ENVIRONMENT}",
        *_WITH_SECRET.splitlines(),
        f" && uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python {python} \\",
        f"    --no-deps --require-hashes -r {LAUNCHER_LOCK}",
        *_server_stage_lines(python, f" && install -d -m 1777 {CACHE}"),
        "",
        "FROM ${BASE_IMAGE}",
        *(_JAVA if recipe.java else ()),
        f"COPY --from=build {ENVIRONMENT} {ENVIRONMENT}",
        f"COPY --from=build {SERVER} {SERVER}",
        f"COPY --from=build {CACHE} {CACHE}",
        *_surroundings({
            "LAUNCHER_HOME": f"{CACHE}/home",
            "UV_CACHE_DIR": f"{CACHE}/uv",
            "UV_PYTHON_INSTALL_DIR": f"{CACHE}/python",
            "MLFLOW_HOST": "0.0.0.0",
            "MLFLOW_MODELS_WORKERS": "auto",
            **recipe.variables,
        }),
        f'VOLUME ["{CACHE}"]',
        *_face(recipe, [python, "-m", "launcher.cli.container"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _head(recipe: Recipe) -> list[str]:
    return [
        f"# {' '.join(recipe.title.split())}",
        f"ARG BASE_IMAGE={recipe.base_image}",
        f"ARG BUILD_IMAGE={recipe.build_image}",
        "",
    ]


def _installing_stage(recipe: Recipe) -> list[str]:
    """The stage that installs packages, up to the point where uv is there."""
    return [
        "FROM ${BUILD_IMAGE} AS build",
        *_index_arguments(recipe.indexes),
        "WORKDIR /build",
        f"COPY {ENVIRONMENT_FILES}/{INSTALLER} ./",
        "# uv is one binary: whatever Python is here, that of a newer one will do.",
        *_WITH_SECRET.splitlines(),
        " && python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check \\",
        "    --target uv --no-deps --only-binary=:all: --python-version 3.12 \\",
        f"    --require-hashes -r {INSTALLER}",
        f"COPY {ENVIRONMENT_FILES}/ ./",
    ]


def _index_arguments(indexes: IndexSettings) -> list[str]:
    """Where packages come from, for pip and uv; the credentials come as a build secret."""
    urls = {"PIP_INDEX_URL": bare(indexes.index_url)} if indexes.index_url else {}
    extra = " ".join(bare(url) for url in indexes.extra_index_urls if "://" in url)
    urls |= {"PIP_EXTRA_INDEX_URL": extra} if extra else {}
    for_uv = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
    urls |= {for_uv[name]: value for name, value in urls.items()}
    names = (*for_uv, *for_uv.values(), "PIP_CERT", "SSL_CERT_FILE")
    return [f"ARG {name}" + (f"={_quoted(urls[name])}" if name in urls else "") for name in names]


def _installation(recipe: Recipe, python: str) -> list[str]:
    common = f"uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python {python}"
    common += " --no-deps"
    steps = [
        f"{common} {shlex.join(recipe.dates)} --preview-features pylock -r {name}"
        for name in recipe.locks
    ]
    if recipe.mlflow_home:
        steps.append(f"{common} --reinstall ./{MLFLOW_HOME}")
    lines = [f" && {' '.join(step.split())}" for step in steps]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _server_stage_lines(python: str, then: str = "") -> list[str]:
    """The server's files with their bytecode: the image may not be written to."""
    return [
        f"COPY {SERVER_FILES}/ {SERVER}/",
        f"RUN {python} -m compileall -q --invalidation-mode unchecked-hash {SERVER}{then}",
    ]


def _serving_lines(recipe: Recipe, python: str) -> list[str]:
    return [
        f"COPY --from=build {SERVER} {SERVER}",
        f"COPY {MODEL_TREE}/ /",
        *_surroundings({"MLFLOW_MODELS_WORKERS": "auto"}),
        *_face(recipe, [python, "-m", "scoring_server.container"]),
    ]


def _surroundings(more: Mapping[str, str]) -> list[str]:
    variables = {
        "PATH": f"{ENVIRONMENT}/bin:$PATH",
        # For libraries that insist on one: whoever the user is, it can be written to, or nothing.
        "HOME": "/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return ["ENV " + " \\\n    ".join(pairs)]


def _face(recipe: Recipe, command: list[str]) -> list[str]:
    labels = [f"{name}={_quoted(value)}" for name, value in recipe.labels.items()]
    return [
        # `-m` finds the packages in this folder.
        f"WORKDIR {SERVER}",
        f"USER {USER}:0",
        f"EXPOSE {PORT}",
        "HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \\",
        f"    CMD {json.dumps([*command, 'ping'])}",
        *(["LABEL " + " \\\n    ".join(labels)] if labels else []),
        f"ENTRYPOINT {json.dumps(command)}",
        'CMD ["serve"]',
    ]


def _quoted(value: str) -> str:
    """A value as ENV, ARG and LABEL read it: nothing in it is a variable or ends it."""
    escaped = " ".join(value.split()).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
