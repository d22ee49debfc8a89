"""Reads a model's conda.yaml as conda does, for environments made of conda packages.

The format is conda's:
https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.model.requirements import (
    ModelRequirements,
    list_in,
    parse_conda_requirement,
    read_yaml,
)

# What conda itself takes where a file names no channels, and what MLflow writes.
CONDA_DEFAULT = ("defaults",)
MLFLOW_DEFAULT = ("conda-forge",)


@dataclass(frozen=True)
class CondaEnvironment:
    """What a conda.yaml asks for.

    :param python: a version, or what follows the name in the file ('=3.7.16', ' >=3.8,<3.11'), or
        None.
    :param specs: the other match specs.
    :param pip: the lines of the pip section.
    """

    channels: tuple[str, ...]
    python: str | None
    specs: tuple[str, ...]
    pip: tuple[str, ...]


def read_conda_environment(requirements: ModelRequirements) -> CondaEnvironment:
    """Read the conda.yaml of a model; one without gets Python, pip and its requirements.

    :raises ModelError: the file is not YAML, or of another shape.
    """
    file = requirements.conda_file
    if file is None:
        return CondaEnvironment(MLFLOW_DEFAULT, requirements.python, ("pip",), requirements.lines)
    content = read_yaml(file)
    python = requirements.python
    specs: list[str] = []
    pip: list[str] = []
    for dependency in list_in(content, "dependencies", file):
        if isinstance(dependency, dict):
            pip += map(str, list_in(dependency, "pip", file))
            continue
        text = str(dependency).strip()
        name, _ = parse_conda_requirement(text)
        if name == "python" and "::" not in text:
            python = re.sub(r"^python\b", "", text, flags=re.IGNORECASE) or requirements.python
        else:
            specs.append(text)
    channels = tuple(map(str, list_in(content, "channels", file)))
    return CondaEnvironment(channels or CONDA_DEFAULT, python, tuple(specs), tuple(pip))
