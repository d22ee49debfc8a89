"""What activating a conda environment sets: libraries find their data by it (GDAL_DATA, PROJ_DATA).

Packages bring ``etc/conda/env_vars.d/*.json`` with variables, and ``etc/conda/activate.d/*.sh``
with scripts that the shell sources:
https://docs.conda.io/projects/conda-build/en/stable/resources/activate-scripts.html

Scripts look at the variables that are there, so they run at each start, in a shell of their own
each. py-rattler's activation gives text for one shell, in which ``$`` in a value of ``env_vars.d``
is expanded, and which says nothing of the script that failed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from envs.building.context import Report
from envs.disk.files import read_json

# Whatever the script does, also where it exits: the variables go to standard output, what it
# prints to standard error.
_SOURCE = "exec 3>&1 1>&2; trap 'env -0 >&3' EXIT; . \"$1\""
_OF_THE_SHELL = ("_", "SHLVL", "PWD", "OLDPWD")


def activated_environ(prefix: Path, environ: Mapping[str, str], warn: Report) -> dict[str, str]:
    """Return the variables of a process in a conda environment.

    ``prefix`` is the environment's folder, ``environ`` what the process would get without
    activation, the environment's ``bin`` on PATH already. ``warn`` gets one line for each script
    that failed; what it had set until then counts.
    """
    variables = {
        **environ,
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": str(prefix),
        "CONDA_SHLVL": "1",
    }
    settings = prefix / "etc" / "conda"
    for path in sorted(settings.glob("env_vars.d/*.json")):
        variables.update({name: str(value) for name, value in read_json(path).items()})
    scripts = sorted(settings.glob("activate.d/*.sh"))
    if not scripts:
        return variables
    import shutil

    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        warn(f"there is no shell to run the activation scripts: {', '.join(map(str, scripts))}")
        return variables
    for script in scripts:
        variables = _after(script, shell, variables, warn)
    return variables


def _after(script: Path, shell: str, before: dict[str, str], warn: Report) -> dict[str, str]:
    """Return the variables after a script has run, in a process that ends with this one."""
    import shlex
    import tempfile

    from envs.building.log import BuildLog
    from envs.building.process import GuardedProcess

    # The Python that guards the process may have set this one (PEP 538).
    locale = before.get("LC_CTYPE")
    again = "unset LC_CTYPE" if locale is None else f"export LC_CTYPE={shlex.quote(locale)}"
    with tempfile.TemporaryFile() as file:
        command = [shell, "-c", f"{again}; {_SOURCE}", shell, str(script)]
        with GuardedProcess(
            command, log=BuildLog(None), env=before, stdout=file.fileno()
        ) as process:
            done = process.wait()
        file.seek(0)
        rows = os.fsdecode(file.read()).split("\0")
    if done.returncode != 0:
        last = f": {done.lines[-1]}" if done.lines else ""
        warn(f"the activation script {script} failed with code {done.returncode}{last}")
    if len(rows) == 1:  # the shell was killed or replaced
        if done.returncode == 0:
            warn(f"the activation script {script} did not return: what it sets is not known")
        return before
    after = dict(row.partition("=")[::2] for row in rows if row)
    kept = {name: before[name] for name in _OF_THE_SHELL if name in before}
    return {name: value for name, value in after.items() if name not in _OF_THE_SHELL} | kept
