"""R on this machine or in a conda environment: which one runs a crate, and what it has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from launcher.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from envs import Environment

# MLflow's R package needs no older one either; the crates of newer ones cannot be read by older.
OLDEST = (3, 5)
CONDA_PACKAGES = ("r-base", "r-jsonlite")
_HOW_TO_GET = (
    "Install R 3.5 or newer with the package jsonlite (Debian: r-base-core and r-cran-jsonlite), "
    "or use --env-manager conda."
)
_HOW_TO_GET_IN_CONDA = "Correct the versions of r-base and r-jsonlite in the model's conda.yaml."
_SECONDS = 120
# A profile may print, too: what counts comes after this line.
_MARK = "-- R of the launcher --"
_PROBE = f"""
found <- installed.packages()[, c("Package", "Version"), drop = FALSE]
found <- found[!duplicated(found[, 1]), , drop = FALSE]
writeLines(c("{_MARK}", as.character(getRversion()), paste(found[, 1], found[, 2])))
"""


class R(NamedTuple):
    """An R that runs crates.

    :param rscript: absolute path of its ``Rscript``.
    :param version: "4.2.2".
    :param packages: names and versions of what is installed for it.
    :param is_alone: whether it runs without what the user has set up for their own R.
    """

    rscript: str
    version: str
    packages: Mapping[str, str]
    is_alone: bool


def r_for(environment: Environment) -> R:
    """The R for a crate: that of a conda environment, else the machine's.

    :raises EnvironmentBuildError: there is none that can run crates.
    """
    from envs import environ

    is_alone = environment.env_manager == "conda"
    rscript = _rscript_in(environment.path) if is_alone else find_rscript()
    return inspect(rscript, is_alone=is_alone, variables=environ(environment))


def find_rscript() -> Path:
    """The machine's ``Rscript``: the one that RSCRIPT names, R_HOME's, the first on PATH.

    :raises EnvironmentBuildError: there is none.
    """
    named, home = os.environ.get("RSCRIPT"), os.environ.get("R_HOME")
    if named or home:
        path = Path(named) if named else Path(home or "", "bin", "Rscript")
        if not os.access(path, os.X_OK) or path.is_dir():
            variable = "RSCRIPT" if named else "R_HOME"
            raise EnvironmentBuildError(
                f"{variable} leads to {path}, which is no program.",
                f"Correct the variable {variable}, or unset it to have R looked for on PATH.",
            )
        return path.absolute()
    found = shutil.which("Rscript")
    if found is None:
        raise EnvironmentBuildError(
            "A crate needs R, and there is no Rscript by RSCRIPT, R_HOME or PATH.", _HOW_TO_GET
        )
    return Path(found).absolute()


def _rscript_in(prefix: Path) -> Path:
    path = prefix / "bin" / "Rscript"
    if not path.is_file():
        raise EnvironmentBuildError(
            f"The conda environment {prefix} has no R.", _HOW_TO_GET_IN_CONDA
        )
    return path


def inspect(rscript: Path, *, is_alone: bool, variables: Mapping[str, str]) -> R:
    """What an R is, and that it can run crates.

    :param variables: all variables of its process.
    :raises EnvironmentBuildError: it does not run, is too old, or lacks jsonlite.
    """
    options = ["--vanilla"] if is_alone else []
    how_to_get = _HOW_TO_GET_IN_CONDA if is_alone else _HOW_TO_GET
    try:
        done = subprocess.run(
            [str(rscript), *options, "-e", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(variables),
            timeout=_SECONDS,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentBuildError(f"{rscript} cannot be run: {error}.", how_to_get) from error
    _, mark, text = done.stdout.partition(_MARK + "\n")
    if done.returncode != 0 or not mark:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EnvironmentBuildError(f"{rscript} does not work: {last}.", how_to_get)
    version, *lines = text.split("\n")
    packages = dict(line.split(" ", 1) for line in lines if " " in line)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise EnvironmentBuildError(
            f"{rscript} is R {version}: crates need R 3.5 or newer.", _HOW_TO_GET
        )
    if "jsonlite" not in packages:
        how = (
            how_to_get
            if is_alone
            else f"Install it: {rscript} -e 'install.packages(\"jsonlite\")' (Debian: "
            "apt-get install r-cran-jsonlite)."
        )
        raise EnvironmentBuildError(f"R {version} ({rscript}) lacks the package jsonlite.", how)
    return R(str(rscript), version, dict(sorted(packages.items())), is_alone)
