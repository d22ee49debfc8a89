"""Can an engine be in a model's environment? Found out before anything is built.

Most need nothing that a model could exclude. One that is a package with many requirements of its
own does, and the answer then names the two lines that do not go together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from envs import EnvError, EnvSpec
from envs.spec import normalize_requirement, parse_date, requirement_name
from launcher.engines.engine import Engine
from launcher.errors import UsageError
from launcher.model.mlmodel import Model

if TYPE_CHECKING:
    from launcher.console import Console

_VERSION = re.compile(r"\s*=*\s*(\d+\.\d+(?:\.\d+)?)")


def check_local(engine: Engine) -> None:
    """See that the engine is in the Python that runs the launcher.

    :raises UsageError: it is not.
    """
    missing = [line for line in engine.requirements if not _is_installed(line)]
    if missing:
        lines = " ".join(f"'{line}'" for line in missing)
        raise UsageError(
            f"The Python that runs the launcher has no {requirement_name(missing[0])}.",
            f"pip install {lines}, or leave --env-manager local out.",
        )


def _is_installed(line: str) -> bool:
    try:
        version(requirement_name(line) or line)
    except PackageNotFoundError:
        return False
    return True


def check_python_and_day(spec: EnvSpec, model: Model, engine: Engine) -> None:
    """See that the engine runs on the Python of a spec, and was there on its day.

    :raises UsageError: it does not, or was not.
    """
    from packaging.specifiers import SpecifierSet

    needed = ", ".join(engine.requirements[:1])
    is_given = spec.as_of not in ("auto", "today")
    if is_given and engine.since and parse_date(spec.as_of) < engine.since.date():
        raise UsageError(
            f"{needed} is from {engine.since:%Y-%m-%d}, later than --as-of {spec.as_of}.",
            "Give a later day.",
        )
    exact = _VERSION.fullmatch(spec.python or _running())
    if exact is not None and exact[1] not in SpecifierSet(engine.pythons):
        raise UsageError(
            f"{needed} needs Python {engine.pythons}, but {_python_line(spec, model)}.",
            engine.instead,
        )


def _running() -> str:
    import platform

    return platform.python_version()


def _python_line(spec: EnvSpec, model: Model) -> str:
    """Where it is said which Python the model wants."""
    if spec.python is None:
        return f"the launcher runs on {_running()}, and the model names none"
    files = ("conda.yaml",) if spec.conda_channels else ("python_env.yaml", "conda.yaml")
    wanted = _VERSION.fullmatch(spec.python)
    found = _line(
        model.path,
        (*files, "MLmodel"),
        lambda text: "python" in text and wanted is not None and wanted[1] in text,
    )
    return f"{found[0]} has {found[1]}" if found else f"the model wants {spec.python}"


def check_pins(
    spec: EnvSpec,
    model: Model,
    engine: Engine,
    console: Console,
    *,
    offline: bool | None,
    wheelhouse: Path | None,
) -> None:
    """See that the engine's requirements can be resolved together with the model's.

    :param spec: as the manager of virtual environments reads the model.
    :raises UsageError: they cannot.
    """
    from envs.exclusion import find_exclusion

    console.under_way(f"is there a solution with {engine.requirements[0]}?")
    try:
        found = find_exclusion(
            replace(spec, lockfile=None),
            offline=offline,
            wheelhouse=wheelhouse,
        )
    except EnvError:
        return  # the build says it as well, with its log
    if found is None:
        return
    if found.line is None:
        raise UsageError(
            f"{found.added} cannot be beside the model's requirements: {found.reason}.",
            engine.instead,
        )
    wanted = normalize_requirement(found.line)
    place = _line(
        model.path,
        ("requirements.txt", "python_env.yaml", "conda.yaml"),
        lambda text: normalize_requirement(text) == wanted,
    )
    origin = f" of {place[0]}" if place else ""
    raise UsageError(
        f"{found.added} and {found.line}{origin} exclude each other: {found.reason}.",
        engine.instead,
    )


def _line(
    folder: Path, files: tuple[str, ...], is_wanted: Callable[[str], bool]
) -> tuple[str, str] | None:
    """The name of the first file with a line that is wanted, and the line without its YAML."""
    from envs.pip.requirements_file import read_lines

    for name in files:
        if not (folder / name).is_file():
            continue
        for line in read_lines(folder / name):
            if is_wanted(bare := line.strip().removeprefix("- ").strip()):
                return name, bare
    return None
