"""Can an engine be in a model's environment? Found out before anything is built.

Most need nothing that a model could exclude. One that is a package with many requirements of its
own does, and the answer then names the two lines that do not go together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from envs import EnvError, EnvSpec
from envs.spec import parse_date, requirement_name
from launcher.engines.engine import Engine
from launcher.errors import UsageError
from launcher.model.mlmodel import Model

if TYPE_CHECKING:
    from launcher.console import Console

# numpy 2 came out on that day. What was built before it does not load with it.
_NUMPY_2 = datetime(2024, 6, 16, tzinfo=timezone.utc)
_ENVIRONMENT_FILES = ("python_env.yaml", "conda.yaml")
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


def fitted(spec: EnvSpec, model: Model, engine: Engine) -> EnvSpec:
    """The spec with a Python that the engine runs on, as of a day on which it was there.

    :raises UsageError: it wants another Python, or an earlier day.
    """
    needed = engine.requirements[0]
    is_given = spec.as_of not in ("auto", "today")
    if is_given and engine.since and parse_date(spec.as_of) < engine.since.date():
        raise UsageError(
            f"{needed} is from {engine.since:%Y-%m-%d}, later than --as-of {spec.as_of}.",
            "Give a later day.",
        )
    if not check_python(spec, model, engine):  # a range: what is in both
        spec = replace(spec, python=f"{spec.python},{engine.pythons}")
    return spec if engine.since is None else _brought_up_to(spec, engine.since)


def check_python(spec: EnvSpec, model: Model, engine: Engine) -> bool:
    """See that the engine runs on the Python that the model wants.

    :returns: whether it wants one version; what is in a range and runs it is found by resolving.
    :raises UsageError: it does not.
    """
    exact = _VERSION.fullmatch(spec.python or _running())
    if exact is None:
        return False
    from packaging.specifiers import SpecifierSet

    if exact[1] not in SpecifierSet(engine.pythons):
        needs = engine.requirements[0] if engine.instead else "The scoring server"
        raise UsageError(
            f"{needs} needs Python {engine.pythons}, but {_python_line(spec, model)}.",
            engine.instead or "Log the model anew with a later Python, or try --env-manager local.",
        )
    return True


def _brought_up_to(spec: EnvSpec, since: datetime) -> EnvSpec:
    """The spec resolved as of ``since``, where its model was logged earlier.

    What a model leaves open is then younger than the model. Of that numpy matters most: the wheels
    of its day that it pins need a numpy of the old kind.
    """
    if spec.logged_at is None or spec.logged_at >= since:
        return spec
    of_its_day = ("numpy<2",) if spec.logged_at < _NUMPY_2 else ()
    return replace(
        spec, logged_at=since, server_requirements=(*spec.server_requirements, *of_its_day)
    )


def _running() -> str:
    import platform

    return platform.python_version()


def _python_line(spec: EnvSpec, model: Model) -> str:
    """Where it is said which Python the model wants."""
    if spec.python is None:
        return f"the launcher runs on {_running()}, and the model names none"
    files = ("conda.yaml",) if spec.conda_channels else _ENVIRONMENT_FILES
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
) -> str | None:
    """See that the engine's requirements can be resolved together with the model's.

    :param spec: its requirements are lines of the Python Package Index.
    :returns: why that cannot be known, a sentence; None where they can be.
    :raises UsageError: they cannot.
    """
    from envs.exclusion import find_exclusion

    console.under_way(f"is there a solution with {engine.requirements[0]}?")
    try:
        found = find_exclusion(
            spec,
            offline=offline,
            wheelhouse=wheelhouse,
        )
    except EnvError as error:
        return error.message
    if found is None:
        return None
    if found.line is None:
        raise UsageError(
            f"{found.added} cannot be beside the model's requirements: {found.reason}.",
            engine.instead,
        )
    wanted = requirement_name(found.line)
    files = ("conda.yaml",) if spec.conda_channels else ("requirements.txt", *_ENVIRONMENT_FILES)
    place = _line(model.path, files, lambda text: requirement_name(text) == wanted)
    file = spec.lockfile.name if spec.lockfile else place and place[0]
    origin = f" of {file}" if file else ""
    raise UsageError(
        f"{found.added} and {found.line}{origin} exclude each other: {found.reason}.",
        f"Lock it for {engine.name}, too (launcher lock --enable-{engine.name}). {engine.instead}"
        if spec.lockfile
        else engine.instead,
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
