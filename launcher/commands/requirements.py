"""``launcher update-pip-requirements``: changes what a model asks for, in its own files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher.artifacts import folder_in_place
from launcher.console import Console
from launcher.errors import ModelError
from launcher.model.mlmodel import read_model
from launcher.model.requirement_edit import (
    Edit,
    Operation,
    conda_text,
    edit_conda_yaml,
    edit_requirements_file,
    name_of,
    parse_requirements,
    replace_together,
    requirements_text,
)
from launcher.model.requirements import list_in, path_inside, read_text_lines, read_yaml

_LOCKFILES = ("pylock.toml", "uv.lock", "conda-lock.yml")


class Change(NamedTuple):
    """What became of one file."""

    file: str
    added: list[str]
    removed: list[str]


def update_requirements(
    uri: str, operation: Operation, requirements: Iterable[str], console: Console
) -> list[Change]:
    """Add requirements to a model's conda.yaml and requirements.txt, or remove them by name.

    :raises UsageError: one is no requirement.
    :raises ModelError: the model is not one that can be changed, or a file of it is damaged.
    """
    wanted = parse_requirements(requirements)
    folder = folder_in_place(uri, report=console.step)
    model = read_model(folder)
    plain = path_inside(folder, "requirements.txt")
    conda = model.requirements.conda_file
    edits: dict[Path, Edit] = {}
    if conda is not None:
        edits[conda] = edit_conda_yaml(conda, operation, wanted)
    if plain is not None and plain.is_file():
        edits[plain] = edit_requirements_file(plain, operation, wanted)
    if not edits:
        raise ModelError(
            f"{folder} has neither conda.yaml nor requirements.txt.",
            "Make an empty requirements.txt beside MLmodel first.",
        )
    changed = {path: edit for path, edit in edits.items() if edit.added or edit.removed}
    replace_together(
        {
            path: conda_text(path, edit) if path == conda else requirements_text(path, edit)
            for path, edit in changed.items()
        }
    )
    if operation == "remove":
        _warn_of_missing(wanted, changed.values(), console)
    _warn_of_included(folder, plain, wanted, console)
    if changed:
        _warn_of_others(folder, console)
    return [Change(path.name, edit.added, edit.removed) for path, edit in edits.items()]


def _warn_of_missing(
    wanted: Sequence[Requirement], edits: Collection[Edit], console: Console
) -> None:
    """As MLflow does: what is not there need not be removed."""
    removed = {name_of([line]) for edit in edits for line in edit.removed}
    for each in wanted:
        if canonicalize_name(each.name) not in removed:
            console.warn(f"{each.name} is in neither file, so it is not removed")


def _warn_of_included(
    folder: Path, plain: Path | None, wanted: Sequence[Requirement], console: Console
) -> None:
    """Name the files that requirements.txt includes which speak of the same packages."""
    if plain is None or not plain.is_file():
        return
    names = {canonicalize_name(each.name) for each in wanted}
    for line in read_text_lines(plain):
        included = re.match(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*([^\s#]+)", line)
        file = path_inside(folder, included[1]) if included else None
        if file is not None and file.is_file():
            for name in sorted(names & {name_of([each]) for each in read_text_lines(file)}):
                console.warn(
                    f"{file.name}, which requirements.txt names, speaks of {name}, too: it stays "
                    "as it is"
                )


def _warn_of_others(folder: Path, console: Console) -> None:
    """Name what else decides what is installed, and is not changed."""
    for lockfile in _LOCKFILES:
        if (folder / lockfile).is_file():
            console.warn(
                f"{lockfile} is of the requirements before, and counts more than they do: write "
                "it anew (`launcher lock`) or remove it"
            )
    file = folder / "python_env.yaml"
    if file.is_file():
        lines = map(str, list_in(read_yaml(file), "dependencies", file))
        if not any("requirements.txt" in line for line in lines):
            console.warn(
                f"{file.name} does not name requirements.txt: its own list is what virtualenv "
                "environments get"
            )
