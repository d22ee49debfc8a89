"""What a model asks of its environment: python_env.yaml, requirements.txt, conda.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envs.errors import EnvError
from launcher.errors import ModelError

BUILD_PACKAGES = ("pip", "setuptools", "wheel")

# Where a conda package goes by another name on the Python Package Index.
_PYPI_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pytables": "tables",
    "msgpack-python": "msgpack",
    "py-opencv": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "graphviz-python": "graphviz",
    "matplotlib-base": "matplotlib",
    "ipython_genutils": "ipython-genutils",
    "tensorflow-base": "tensorflow",
    "keras-base": "keras",
    "numpy-base": "numpy",
    "mlflow-base": "mlflow",
}
# These two are compiled for models that have nothing but a conda.yaml.
# conda packages that are no Python packages; a wheel brings its own copy of what it needs.
_NOT_PYTHON = (
    r"^(_.*|lib.*|mkl|blas|openblas|cudatoolkit|cudnn|cuda-.*|nccl|openjdk|r-.*|gcc.*|gxx.*|"
    r"ca-certificates|openssl|nomkl|sysroot.*|ld_impl.*|bzip2|zlib|xz|sqlite|tk|ncurses|readline)$"
)
_CONDA_SPEC = r"^(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.\-]+)\s*(?P<rest>[=<>!~].*|\s+\S.*)?$"


class ModelRequirements(NamedTuple):
    """What goes into the model's environment.

    :param python: a version such as '3.7.16' or '3.8', or None.
    :param lines: lines of a requirements.txt.
    :param base: where relative paths in them start.
    :param build: the lines of ``python_env.yaml``'s build_dependencies.
    :param conda_file: the conda.yaml, if there is one.
    :param notes: say in one line each what could not be carried over.
    """

    python: str | None
    lines: tuple[str, ...]
    base: Path
    build: tuple[str, ...] = ()
    conda_file: Path | None = None
    notes: tuple[str, ...] = ()


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    :raises ModelError: the file is not readable, not YAML, not a mapping, or larger than any
        model's.
    """
    from envs.disk import yaml_file

    try:
        content = yaml_file.read_yaml(path)
    except EnvError as error:
        hint = error.hint or "Repair the file, or log the model again with MLflow."
        raise ModelError(error.message, hint) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a YAML mapping.", "Log the model again with MLflow.")
    return content


def read_model_requirements(path: Path, pyfunc: Mapping[str, Any]) -> ModelRequirements:
    """Read the environment of the model folder ``path``, as MLflow's virtualenv manager does.

    ``python_env.yaml`` comes first, then ``requirements.txt`` with the Python of ``conda.yaml``,
    then ``conda.yaml`` alone, then nothing but the Python version of the flavor.

    :param pyfunc: the python_function flavor; its ``env`` may name the files.
    :raises ModelError: a file named there is not YAML, or points outside the folder.
    """
    named = pyfunc.get("env")
    files = named if isinstance(named, dict) else {"conda": named}
    conda_file = _existing(path, files.get("conda") or "conda.yaml")
    python_env = _existing(path, files.get("virtualenv") or "python_env.yaml")
    logged_with = pyfunc.get("python_version")
    fallback = str(logged_with) if logged_with else None
    if python_env is not None:
        return _from_python_env(path, python_env, conda_file, fallback)
    requirements = _existing(path, "requirements.txt")
    if conda_file is None:
        lines = read_text_lines(requirements) if requirements else []
        return ModelRequirements(fallback, tuple(lines), path)
    from_conda = requirements_of_conda_yaml(path, conda_file, fallback)
    if requirements is None:
        return from_conda
    return ModelRequirements(
        from_conda.python,
        tuple(read_text_lines(requirements)),
        path,
        from_conda.build,
        conda_file,
    )


def read_crate_requirements(path: Path, crate: Mapping[str, Any]) -> ModelRequirements:
    """Read the environment of a model of R's: nothing but a conda.yaml, if that.

    :param crate: the crate flavor; its ``conda_env`` may name the file.
    :raises ModelError: a file named there points outside the folder.
    """
    conda_file = _existing(path, crate.get("conda_env") or "conda.yaml")
    notes: tuple[str, ...] = ()
    if conda_file is not None:
        notes = (f"{conda_file.name} is left out: --env-manager conda builds its environment.",)
    return ModelRequirements(None, (), path, (), conda_file, notes)


def read_text_lines(file: Path) -> list[str]:
    """Read the lines of a requirements file.

    :raises ModelError: it cannot be read.
    """
    from envs.pip.requirements_file import read_lines

    try:
        return read_lines(file)
    except EnvError as error:
        raise ModelError(error.message, error.hint) from error


def path_inside(folder: Path, name: object) -> Path | None:
    """What a model names, links followed; None where that is outside of its folder, or no path."""
    try:
        path = (folder / str(name)).resolve()
    except (ValueError, RuntimeError, OSError):  # a NUL byte, links in a circle
        return None
    return path if path.is_relative_to(folder.resolve()) else None


def _existing(path: Path, name: str) -> Path | None:
    file = path_inside(path, name)
    if file is None:
        raise ModelError(f"{path}: the environment file {name} lies outside the model folder.")
    return file if os.path.isfile(file) else None  # noqa: PTH113 - False where it cannot be


def list_in(content: Mapping[str, Any], field: str, file: Path) -> list[Any]:
    """Return a list of a YAML file's mapping; an empty one where the field is not there.

    :raises ModelError: it is no list.
    """
    value = content.get(field) or []
    if not isinstance(value, list):
        raise ModelError(f"{file}: {field} is not a list.")
    return value


def _from_python_env(
    path: Path, file: Path, conda_file: Path | None, fallback: str | None
) -> ModelRequirements:
    content = read_yaml(file)
    python = content.get("python")
    return ModelRequirements(
        str(python) if python else fallback,
        tuple(map(str, list_in(content, "dependencies", file))),
        path,
        tuple(map(str, list_in(content, "build_dependencies", file))),
        conda_file,
    )


def requirements_of_conda_yaml(
    path: Path, file: Path, fallback: str | None = None
) -> ModelRequirements:
    """Read a conda.yaml as requirement lines of the Python Package Index.

    :param path: the model's folder.
    :param fallback: the Python where the file names none.
    :raises ModelError: it cannot be read.
    """
    python = fallback
    lines: list[str] = []
    build: list[str] = []
    dropped: list[str] = []
    for dependency in list_in(read_yaml(file), "dependencies", file):
        if isinstance(dependency, dict):
            lines += map(str, list_in(dependency, "pip", file))
            continue
        name, versions = parse_conda_requirement(str(dependency))
        if name == "python":
            python = _python_version(versions) or fallback
        elif name in BUILD_PACKAGES:
            build.append(f"{name}{versions}")
        elif re.match(_NOT_PYTHON, name):
            dropped.append(str(dependency))
        else:
            lines.append(f"{_PYPI_NAMES.get(name, name)}{versions}")
    notes: tuple[str, ...] = ()
    if dropped:
        notes = (
            f"{', '.join(dropped)} of conda.yaml left out: not Python packages "
            "(--env-manager conda installs them).",
        )
    lines = list(dict.fromkeys(lines))
    return ModelRequirements(python, tuple(lines), path, tuple(build), file, notes)


def _python_version(specifier: str) -> str | None:
    found = re.search(r"\d+\.\d+(\.\d+)?", specifier)
    return found.group() if found else None


def parse_conda_requirement(text: str) -> tuple[str, str]:
    """Turn a conda match specification into a name and a PEP 440 version specifier.

    ``=1.2`` means 1.2 and everything below it to conda, hence ``==1.2.*``; a full version of
    three numbers is what MLflow logs for exactly that release. A build string is dropped.
    https://docs.conda.io/projects/conda-build/en/latest/resources/package-spec.html

    :returns: ('scikit-learn', '==0.23.2'); the specifier is '' where any version will do.
    :raises ModelError: not a match specification.
    """
    found = re.match(_CONDA_SPEC, " ".join(text.split("#")[0].split("[")[0].split()))
    if not found:
        raise ModelError(f"conda.yaml: the requirement {text!r} cannot be read.")
    name = found["name"].lower()
    rest = (found["rest"] or "").strip()
    if not rest or rest == "*":
        return name, ""
    if rest[0] not in "=<>!~":
        rest = "=" + rest.split()[0]
    fuzzy = re.match(r"^=(?!=)\s*([^=,\s]+)(?:=\S+)?$", rest)
    if not fuzzy:
        return name, re.sub(r"\s+", "", re.sub(r"(==[^=,\s]+)=[^,\s]+", r"\1", rest))
    version = fuzzy[1].rstrip("*").rstrip(".")
    exact = version.count(".") >= 2 and not fuzzy[1].endswith("*")
    return name, f"=={version}" if exact else f"=={version}.*"
