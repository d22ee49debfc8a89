"""Adds requirements to the files of a model, and takes them out: conda.yaml and requirements.txt.

What a line says that is not touched stays as it is: comments and options in a requirements.txt, and
everything of a conda.yaml but its form. Names are compared as the index does (PEP 503).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from envs.disk.files import write_atomically
from launcher.errors import ModelError, UsageError
from launcher.model.requirements import list_in, read_text_lines, read_yaml

Operation = Literal["add", "remove"]

# As pip has them: a comment begins a line, or follows a blank.
_COMMENT = re.compile(r"(^|\s)#.*$")


class Edit(NamedTuple):
    """What an edit makes of a file's requirements.

    :param lines: all of them, as they are then.
    :param added: those that are new.
    :param removed: those that are gone, replaced ones too.
    """

    lines: list[str]
    added: list[str]
    removed: list[str]


def parse_requirements(texts: Iterable[str]) -> list[Requirement]:
    """Read requirements as MLflow does: name and extras in lower case, those of one name together.

    :raises UsageError: one is none, or two contradict each other.
    """
    parsed: dict[tuple[str, str], Requirement] = {}
    wrong = []
    for text in texts:
        try:
            wanted = Requirement(text.strip())
        except InvalidRequirement as error:
            wrong.append(f"{text!r} ({str(error).splitlines()[0].rstrip('.')})")
            continue
        wanted.name = wanted.name.lower()
        wanted.extras = {extra.lower() for extra in wanted.extras}
        wanted.specifier = SpecifierSet(str(wanted.specifier).lower())
        key = (canonicalize_name(wanted.name), str(wanted.marker or ""))
        before = parsed.get(key)
        if before is not None:
            wanted.extras |= before.extras
            wanted.specifier &= before.specifier
            _refuse_contradiction(wanted)
        parsed[key] = wanted
    if wrong:
        raise UsageError(
            f"No requirements: {', '.join(wrong)}.",
            "Nothing was changed. Write them as pip takes them: 'pandas==2.2.3', 'scipy>=1.13'.",
        )
    return list(parsed.values())


def _refuse_contradiction(wanted: Requirement) -> None:
    pins = [each.version for each in wanted.specifier if each.operator == "=="]
    if any(not pin.endswith(".*") and not wanted.specifier.contains(pin, True) for pin in pins):
        raise UsageError(
            f"No release is {wanted.name}{wanted.specifier}.",
            "Nothing was changed. Give one of them.",
        )


def edit_lines(
    lines: Sequence[str], operation: Operation, requirements: Sequence[Requirement]
) -> Edit:
    """Apply an operation to the lines of a requirements file, or the items of a pip section.

    Who is there already is replaced where it stands; a line that goes on after a backslash is one.
    """
    wanted: dict[str, list[str]] = {}
    for each in requirements:
        wanted.setdefault(canonicalize_name(each.name), []).append(str(each))
    kept: list[str] = []
    found: set[str] = set()
    for joined in _joined(lines):
        name = name_of(joined)
        if name not in wanted:
            kept += joined
            continue
        if operation == "add" and name not in found:
            kept += wanted[name]
        found.add(name)
    if operation == "add":
        kept += [line for name, new in wanted.items() if name not in found for line in new]
    added = [line for line in kept if line not in lines]
    return Edit(kept, added, [line for line in lines if line not in kept])


def _joined(lines: Sequence[str]) -> list[list[str]]:
    """The lines, those together that backslashes join."""
    joined: list[list[str]] = [[]]
    for line in lines:
        joined[-1].append(line)
        if not line.endswith("\\"):
            joined.append([])
    return [each for each in joined if each]


def name_of(joined: Sequence[str]) -> str:
    """The package's name in normal form; "" of a comment, an option or a path without one.

    :param joined: the lines that make one.
    """
    text = _COMMENT.sub("", " ".join(line.rstrip("\\").strip() for line in joined)).strip()
    try:
        # Options of a single requirement: --hash and others.
        return canonicalize_name(Requirement(re.split(r"\s--", text)[0]).name)
    except InvalidRequirement:
        return ""


def edit_requirements_file(path: Path, operation: Operation, wanted: Sequence[Requirement]) -> Edit:
    """Apply an operation to the lines of a requirements.txt.

    :raises ModelError: it cannot be read.
    """
    return edit_lines(read_text_lines(path), operation, wanted)


def requirements_text(path: Path, edit: Edit) -> str:
    """What the file at ``path`` is to have: at its end a line break if it has one now."""
    end = "\n" if path.read_bytes().endswith(b"\n") and edit.lines else ""
    return "\n".join(edit.lines) + end


def edit_conda_yaml(path: Path, operation: Operation, wanted: Sequence[Requirement]) -> Edit:
    """Apply an operation to the pip section of a conda.yaml, which may have none yet.

    :raises ModelError: it cannot be read.
    """
    lines: list[str] = []
    for dependency in list_in(read_yaml(path), "dependencies", path):
        if isinstance(dependency, dict):
            lines += map(str, list_in(dependency, "pip", path))
    return edit_lines(lines, operation, wanted)


def conda_text(path: Path, edit: Edit) -> str:
    """What the conda.yaml at ``path`` is to have, in the form in which MLflow writes it.

    :raises ModelError: it cannot be read.
    """
    import yaml

    content = read_yaml(path)
    dependencies: list[Any] = []
    section: dict[str, Any] | None = None
    for dependency in list_in(content, "dependencies", path):
        if not isinstance(dependency, dict) or "pip" not in dependency:
            dependencies.append(dependency)
        elif section is None:
            section = {**dependency, "pip": edit.lines}
            dependencies.append(section)
    if section is None:
        dependencies.append({"pip": edit.lines})
    text: str = yaml.dump({**content, "dependencies": dependencies})
    return text


def replace_together(texts: Mapping[Path, str]) -> None:
    """Replace files by others with the same permissions, once all of these are on the disk.

    :raises ModelError: they cannot be written; then all are as they were.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            new = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
            write_atomically(new, text)
            staged[path] = new
            new.chmod(stat.S_IMODE(path.stat().st_mode))
        for path, new in staged.items():
            new.replace(path)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror}.",
            "The model is as it was. Copy its folder to a place that you may write to, and change "
            "the copy.",
        ) from error
    finally:
        for new in staged.values():
            new.unlink(missing_ok=True)
