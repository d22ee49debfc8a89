"""Making the environments of conda packages: linked by py-rattler, completed by uv."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from envs.building.context import Context
from envs.building.interpreters import Interpreter, probe
from envs.building.process import read_output
from envs.managers.conda.lockfile import CondaLockfile, locked_resolution, read_conda_lockfile
from envs.managers.conda.packages import Solution, install, solve
from envs.managers.conda.pip_section import find_linked, resolve_beside
from envs.managers.conda.planning import CondaPlan
from envs.pip.pylock import marker_environment
from envs.pip.resolution import Resolution
from envs.pip.resolution import install as install_pip
from envs.pip.site_packages import copy_packages, is_for_elsewhere
from envs.plan import Contents
from envs.spec import requirement_name

_PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def build(plan: CondaPlan, prefix: Path, context: Context) -> Contents:
    """Fill ``prefix`` as planned (see `envs.managers.manager`)."""
    context.log.secrets.update(plan.secrets())
    wanted = plan.wanted
    locked = None
    if plan.lockfile is not None:
        locked = read_conda_lockfile(plan.lockfile, plan.machine.subdir)
        solution = Solution(locked.conda, dated=True)
    else:
        solution = solve(wanted, context)
    install(solution.packages, prefix, wanted, context, lockfile=plan.lockfile)
    interpreter, site_packages = inspect(prefix, context)
    pip = _add_pip(plan, locked, interpreter, site_packages, context)
    copy_packages(plan.copied_packages, site_packages, context)
    installed = find_linked(site_packages, interpreter, "").versions
    explicit = "".join(f"{package.explicit()}\n" for package in solution.packages)
    return Contents(
        python="bin/python",
        python_version=interpreter.version,
        site_packages=str(site_packages.relative_to(prefix)),
        packages={**solution.versions, **installed},
        resolved=context.log.mask(f"{explicit}{pip.text}"),
        as_of="lock" if locked else pip.as_of if solution.dated else "today",
        notes=(*solution.notes, *((pip.note,) if pip.note else ())),
    )


def _add_pip(
    plan: CondaPlan,
    lockfile: CondaLockfile | None,
    interpreter: Interpreter,
    site_packages: Path,
    context: Context,
) -> Resolution:
    """Install the pip section: from the lockfile, then what it lacks; else resolved."""
    python = Path(interpreter.path)
    request = plan.pip.request(python)
    if lockfile is None:
        linked = find_linked(site_packages, interpreter, "conda installs")
        resolution = resolve_beside(linked, request, context)
        install_pip(resolution, request.indexes, python, context)
        return resolution
    locked = locked_resolution(lockfile)
    install_pip(locked, request.indexes, python, context)
    linked = find_linked(site_packages, interpreter, f"{lockfile.path.name} has")
    linked.check(request.lines)
    environment = marker_environment(interpreter)
    missing = tuple(
        line
        for line in request.lines
        if (name := requirement_name(line))
        and name not in linked.distributions
        and not is_for_elsewhere(line, environment)
    )
    if not missing:
        return locked
    context.report(f"{lockfile.path.name} lacks {', '.join(missing)}: adding them")
    added = resolve_beside(linked, replace(request, lines=missing), context)
    install_pip(added, request.indexes, python, context)
    return replace(locked, text=locked.text + added.text)


def inspect(prefix: Path, context: Context) -> tuple[Interpreter, Path]:
    """Return an environment's Python and its site-packages folder.

    :raises EnvError: that Python does not run.
    """
    python = str(prefix / "bin" / "python")
    interpreter = probe(python, context)
    code, output = read_output([python, "-I", "-c", _PURELIB], log=context.log)
    if interpreter is None or code != 0:
        raise context.log.error(
            "The Python of the conda packages does not run on this machine.",
            "See the log; the channels may be for another platform.",
        )
    return interpreter, Path(output.strip())
